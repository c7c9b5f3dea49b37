package examples

import (
	"bytes"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a command may take, including the time that Go needs to build it.
const patience = 5 * time.Minute

// command is one running block of README.md, with all processes that it has started.
type command struct {
	text           string
	cmd            *exec.Cmd
	stdout, stderr *output
	ended          chan struct{}
	err            error // once it has ended
}

// start runs a block in the folder of the module until the test ends.
func start(t *testing.T, env []string, text string) *command {
	t.Helper()
	c := &command{text: text, stdout: newOutput(), stderr: newOutput(), ended: make(chan struct{})}
	c.cmd = exec.Command("sh", "-eu", "-c", text)
	c.cmd.Dir, c.cmd.Env = "..", env
	c.cmd.Stdout, c.cmd.Stderr = c.stdout, c.stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		c.err = c.cmd.Wait()
	}()
	t.Cleanup(func() { c.stop(t) })
	return c
}

// stop does the same as Ctrl-C in its terminal.
func (c *command) stop(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		select {
		case <-c.ended:
			return
		default:
		}
		if err := syscall.Kill(-c.cmd.Process.Pid, signal); err != nil {
			t.Error(err)
		}
		select {
		case <-c.ended:
			if signal == syscall.SIGKILL {
				t.Errorf("the command does not stop:\n%s", c.said())
			}
			return
		case <-time.After(30 * time.Second):
		}
	}
	t.Errorf("the command does not end:\n%s", c.said())
}

// awaitReady waits for a line that begins with "ready".
func (c *command) awaitReady(t *testing.T) {
	t.Helper()
	ready := regexp.MustCompile(`(?m)^ready\b`)
	deadline := time.After(patience)
	for {
		stdout, told := c.stdout.read()
		stderr, warned := c.stderr.read()
		if ready.MatchString(stdout) || ready.MatchString(stderr) {
			return
		}
		select {
		case <-told:
		case <-warned:
		case <-c.ended:
			t.Fatalf("the command ended (%v):\n%s", c.err, c.said())
		case <-deadline:
			t.Fatalf("the command is not ready:\n%s", c.said())
		}
	}
}

// awaitEnd waits for its end and returns what it printed.
func (c *command) awaitEnd(t *testing.T) string {
	t.Helper()
	select {
	case <-c.ended:
	case <-time.After(patience):
		t.Fatalf("the command is still running:\n%s", c.said())
	}
	if c.err != nil {
		t.Fatalf("%v:\n%s", c.err, c.said())
	}
	text, _ := c.stdout.read()
	return text
}

// said returns the command and everything that it wrote, for error messages.
func (c *command) said() string {
	stdout, _ := c.stdout.read()
	stderr, _ := c.stderr.read()
	return c.text + stdout + stderr
}

// output collects what a program writes and lets a test wait for it.
type output struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{} // closed at the next write
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.buf.Write(b)
}

func (o *output) read() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String(), o.changed
}

// freePort returns a port on which nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
