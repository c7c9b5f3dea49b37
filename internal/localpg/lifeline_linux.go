package localpg

import "syscall"

// setDeathSignal makes the kernel send sig to the child when the thread that
// starts it ends.
func setDeathSignal(attr *syscall.SysProcAttr, sig syscall.Signal) {
	attr.Pdeathsig = sig
}

// guard does nothing on Linux, where the death signal is enough.
func guard(int, account, syscall.Signal) (release func(), err error) {
	return func() {}, nil
}
