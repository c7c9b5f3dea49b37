//go:build !linux

package pgtest

import "syscall"

// dieWithParent does nothing: no such thing outside Linux.
func dieWithParent(*syscall.SysProcAttr) {}
