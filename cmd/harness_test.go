package cmd

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for something that must happen.
const patience = time.Minute

// output collects what a program writes, and lets a test wait for text in it.
type output struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{} // closed at the next write
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

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

func (o *output) String() string {
	text, _ := o.read()
	return text
}

// await waits until the output matches and returns the first group.
func (o *output) await(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for {
		text, changed := o.read()
		if m := re.FindStringSubmatch(text); m != nil {
			return m[len(m)-1]
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("the output does not match %q:\n%s", pattern, text)
		}
	}
}

// awaitLines waits for n lines and returns all lines so far.
func (o *output) awaitLines(t *testing.T, n int) []string {
	t.Helper()
	deadline := time.After(patience)
	for {
		text, changed := o.read()
		if strings.Count(text, "\n") >= n {
			return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("the output has fewer than %d lines:\n%s", n, text)
		}
	}
}

// program is one run of culvert inside the test.
type program struct {
	stdout, stderr *output
	cancel         context.CancelFunc // stops it, like SIGTERM stops a process
	code           chan int
	url            string // of serve, once it is ready
}

// start runs culvert in the background. The test ends it when the test is over.
func start(t *testing.T, env []string, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{newOutput(), newOutput(), cancel, make(chan int, 1), ""}
	go func() { p.code <- Run(ctx, args, env, strings.NewReader(""), p.stdout, p.stderr) }()
	t.Cleanup(func() {
		cancel()
		p.wait(t)
	})
	return p
}

// wait returns the exit code.
func (p *program) wait(t *testing.T) int {
	t.Helper()
	select {
	case code := <-p.code:
		p.code <- code // for later calls of wait
		return code
	case <-time.After(patience):
		t.Fatalf("the program is still running; it said:\n%s%s", p.stdout, p.stderr)
		return 0
	}
}

// run runs culvert until it exits.
func run(t *testing.T, stdin string, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	code = Run(ctx, args, env, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// must runs culvert, fails the test unless it succeeds, and returns its standard output.
func must(t *testing.T, stdin string, env []string, args ...string) string {
	t.Helper()
	code, stdout, stderr := run(t, stdin, env, args...)
	if code != exitOK {
		t.Fatalf("culvert %q exits with %d:\n%s", args, code, stderr)
	}
	return stdout
}

// dataFolder returns a folder for the private Postgres: if root runs the test, another user must be able to
// reach it.
func dataFolder(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, path := range []string{folder, filepath.Dir(folder)} {
		if err := os.Chmod(path, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(folder, "data")
}

// serveArgs returns the arguments to start a server with its own Postgres on free ports.
func serveArgs(data string, more ...string) []string {
	return append([]string{"serve", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--drain=0s", "--data", data}, more...)
}

// serve runs a server inside the test and returns when it is ready.
func serve(t *testing.T, data string, more ...string) *program {
	t.Helper()
	p := start(t, nil, serveArgs(data, more...)...)
	p.url = p.stderr.await(t, `(?m)^ready (http://\S+)$`)
	return p
}

// of returns the environment with which client commands find the server.
func (p *program) of(data string) []string {
	return []string{"CULVERT_URL=" + p.url, "CULVERT_DATA=" + data}
}

// child is culvert as a process of its own.
type child struct {
	*exec.Cmd
	stderr *output
	exited chan struct{}
	url    string
}

// spawn starts a server as a process of its own, which the test kills at its end.
func spawn(t *testing.T, args ...string) *child {
	t.Helper()
	c := &child{exec.Command(os.Args[0], args...), newOutput(), make(chan struct{}), ""}
	c.Env = append(os.Environ(), beCulvert+"=1")
	c.Cmd.Stderr = c.stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = c.Wait() // its result is in ProcessState
		close(c.exited)
	}()
	t.Cleanup(func() {
		if err := c.Process.Kill(); err == nil || errors.Is(err, os.ErrProcessDone) {
			<-c.exited
		}
	})
	c.url = c.stderr.await(t, `(?m)^ready (http://\S+)$`)
	return c
}

// end sends a signal, waits for the exit and returns the exit code, -1 if the signal killed the process.
func (c *child) end(t *testing.T, signal syscall.Signal) int {
	t.Helper()
	if err := c.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.exited:
		return c.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("the program is still running after %v; it said:\n%s", signal, c.stderr)
		return 0
	}
}

const publicPEM = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----"

// write makes a file for one test.
func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
