//go:build !linux

package pgtest

import "syscall"

// dieWithParent does nothing: death signals exist only on Linux.
func dieWithParent(*syscall.SysProcAttr) {}
