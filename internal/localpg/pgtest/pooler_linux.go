package pgtest

import "syscall"

// dieWithParent makes the kernel end the child with the thread that starts it.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
