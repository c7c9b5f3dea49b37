//go:build !linux

package localpg

import "syscall"

// setDeathSignal does nothing: no such thing outside Linux.
func setDeathSignal(*syscall.SysProcAttr, syscall.Signal) {}

// guard has a small process watch over us.
func guard(pid int, a account, sig syscall.Signal) (release func(), err error) {
	return watchdog(pid, a, sig)
}
