package stress

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// lifeline says that the test binary, as a process of its own, holds a pipe on file
// descriptor 3 that ends with the test that started it.
const lifeline = "STRESS_LIFELINE"

func endWithParent() {
	if os.Getenv(lifeline) == "" {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.NewFile(3, "lifeline"))
		os.Exit(3)
	}()
}

// program is an instance, or an application with a handler, that is started again
// when it ends, as by an orchestrator.
type program struct {
	name    string
	env     []string
	args    []string
	url     string
	verdict *verdict

	use    sync.Mutex // held while a fault ends or starts it
	mu     sync.Mutex
	cmd    *exec.Cmd
	cord   *os.File
	gone   chan struct{}
	stderr *said
}

// said keeps the end of the output of a process.
type said struct {
	mu    sync.Mutex
	text  bytes.Buffer
	ready chan struct{}
	once  sync.Once
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.text.Len() > 1<<20 {
		s.text.Next(s.text.Len() - 1<<19)
	}
	n, err := s.text.Write(b)
	if bytes.Contains(s.text.Bytes(), []byte("ready http://")) {
		s.once.Do(func() { close(s.ready) })
	}
	return n, err
}

func (s *said) tail(n int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(s.text.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n      ")
}

// start returns when the program is ready, however often it must be started:
// a program that does not find Postgres in time may give up.
func (p *program) start(ctx context.Context) {
	for deadline := time.Now().Add(90 * time.Second); ctx.Err() == nil; {
		if err := p.launch(); err != nil {
			p.verdict.breaks("an instance starts", "%s: %v", p.name, err)
			return
		}
		select {
		case <-p.stderr.ready:
			return
		case <-p.gone:
			p.verdict.note("%s ended before it was ready: %s", p.name, p.stderr.tail(2))
			p.verdict.count("starts given up", 1)
		case <-ctx.Done():
		case <-time.After(time.Until(deadline)):
		}
		if time.Now().After(deadline) {
			p.verdict.breaks("an instance starts", "%s is not ready after 90 s: %s", p.name, p.stderr.tail(5))
			return
		}
	}
}

func (p *program) launch() error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stderr = &said{ready: make(chan struct{})}
	cmd := exec.Command(os.Args[0], p.args...)
	cmd.Env = append(append(os.Environ(), lifeline+"=1"), p.env...)
	cmd.Stderr = p.stderr
	cmd.ExtraFiles = []*os.File{read}
	if err := cmd.Start(); err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() {
		_ = cmd.Wait() // "signal: killed" is expected
		_ = write.Close()
		close(gone)
	}()
	p.cmd, p.cord, p.gone = cmd, write, gone
	return nil
}

// signal reports whether there was a process to send it to.
func (p *program) signal(sig syscall.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil && p.cmd.Process.Signal(sig) == nil
}

func (p *program) kill() {
	p.mu.Lock()
	cmd, gone := p.cmd, p.gone
	p.cmd = nil
	p.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill()
		<-gone
	}
}

// terminate sends SIGTERM, and SIGKILL after 15 s, as an orchestrator does. According to
// docs/operations.md SIGKILL is never needed.
func (p *program) terminate() {
	if !p.signal(syscall.SIGTERM) {
		return
	}
	patience := time.NewTimer(15 * time.Second)
	defer patience.Stop()
	select {
	case <-p.gone:
	case <-patience.C:
		p.verdict.breaks("an instance ends within 15 s of SIGTERM", "%s: %s", p.name, p.stderr.tail(5))
	}
	p.kill()
}

// ended reports whether it ended by itself.
func (p *program) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// keep starts it again if it ends by itself, which breaks a promise.
func (p *program) keep(ctx context.Context) {
	for rest(ctx, 200*time.Millisecond) {
		p.use.Lock()
		if p.ended() {
			p.verdict.breaks("an instance does not end by itself", "%s: %s", p.name, p.stderr.tail(20))
			p.start(ctx)
		}
		p.use.Unlock()
	}
}

// rest waits, and reports whether ctx has not ended.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
