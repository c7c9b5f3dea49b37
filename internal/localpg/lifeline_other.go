//go:build !linux

package localpg

import "syscall"

// setDeathSignal does nothing: death signals exist only on Linux.
func setDeathSignal(*syscall.SysProcAttr, syscall.Signal) {}

// guard starts a small process that watches this one.
func guard(pid int, a account, sig syscall.Signal) (release func(), err error) {
	return watchdog(pid, a, sig)
}
