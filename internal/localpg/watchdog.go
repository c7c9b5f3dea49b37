package localpg

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"syscall"
)

// watchdogScript waits for a line on its input, a pipe whose other end this process
// holds. End of file instead of a line means that this process died.
const watchdogScript = `read -r line || kill -"$2" "$1"`

// watchdog starts a shell that sends sig to pid if this process dies without calling
// release. It replaces Linux's death signal, and is compiled everywhere so
// that it is tested everywhere.
func watchdog(pid int, a account, sig syscall.Signal) (release func(), err error) {
	cmd := exec.Command("/bin/sh", watchdogArguments(pid, sig)...)
	cmd.Dir = "/"
	cmd.Env = environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	a.apply(cmd.SysProcAttr)
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("watchdog: %w", errors.Join(err, pipe.Close()))
	}
	return func() {
		// If the shell was killed, the write fails, which does no harm.
		_, _ = io.WriteString(pipe, "done\n")
		_ = pipe.Close()
		_ = cmd.Wait()
	}, nil
}

// watchdogArguments returns the arguments of the shell.
func watchdogArguments(pid int, sig syscall.Signal) []string {
	return []string{"-c", watchdogScript, "culvert-watchdog", strconv.Itoa(pid), strconv.Itoa(int(sig))}
}
