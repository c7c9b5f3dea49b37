package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// abortPatience is how long a process may take to end after SIGQUIT before it gets SIGKILL; a
// postmaster gives its children 5 s of this time.
const abortPatience = 10 * time.Second

// process is a running child that does not outlive this process.
type process struct {
	pid  int
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended; read after done
}

// launch starts cmd as the account, in a process group of its own, so that Ctrl-C in a
// terminal reaches only this process, which stops Postgres when nobody needs it any more. If this
// process dies, cmd gets the signal `last`.
func launch(cmd *exec.Cmd, a account, last syscall.Signal) (*process, error) {
	cmd.Env = environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	a.apply(cmd.SysProcAttr)
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go p.run(a, last, started)
	if err := <-started; err != nil {
		<-p.done
		if errors.Is(err, os.ErrPermission) && a.other() {
			return nil, fmt.Errorf("%w (as user %s)", err, a.name)
		}
		return nil, err
	}
	return p, nil
}

// run starts the child and waits for its end, on one OS thread, because Linux sends the
// death signal when the thread that forked ends, not the process.
func (p *process) run(a account, last syscall.Signal, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	setDeathSignal(p.cmd.SysProcAttr, last)
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	p.pid = p.cmd.Process.Pid
	release, err := guard(p.pid, a, last)
	if err != nil {
		err = errors.Join(err, p.cmd.Process.Kill(), p.cmd.Wait())
		started <- err
		return
	}
	started <- nil
	p.err = p.cmd.Wait()
	release()
}

// running reports whether the process has not ended yet.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// end signals the process and waits for its end. If ctx ends first, it aborts
// the process and returns an error.
func (p *process) end(ctx context.Context, polite syscall.Signal) error {
	if err := p.signal(polite); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("did not stop in time: %w", context.Cause(ctx)), p.abort())
	}
}

// abort ends the process quickly. SIGQUIT lets a postmaster end its children.
func (p *process) abort() error {
	if err := p.signal(syscall.SIGQUIT); err != nil {
		return err
	}
	patience := time.NewTimer(abortPatience)
	defer patience.Stop()
	select {
	case <-p.done:
		return nil
	case <-patience.C:
	}
	err := p.signal(syscall.SIGKILL)
	<-p.done
	return err
}

// signal sends a signal; it is not an error if the process has just ended.
func (p *process) signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s: %w", sig, err)
	}
	return nil
}

// alive reports whether a process has the pid, even if this process may not signal it.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// answer is the result of a question about another process: yes, no or unknown.
type answer int

const (
	unknown answer = iota
	no
	yes
)
