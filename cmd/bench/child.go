package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// childServer is a server in a process of its own, so that its memory and CPU can be measured without those of
// its clients.
type childServer struct {
	*exec.Cmd
	url   string
	ended chan struct{} // closed when the process has ended
}

// child starts this program as a child process. The rig ends it.
func (r *rig) child(ctx context.Context, args ...string) (*childServer, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &childServer{Cmd: exec.CommandContext(ctx, program, args...), ended: make(chan struct{})}
	said, err := c.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	r.close = append(r.close, c.end)
	lines := bufio.NewScanner(said)
	var last string
	for lines.Scan() {
		last = lines.Text()
		url, ready := strings.CutPrefix(last, "ready ")
		if !ready {
			continue
		}
		c.url = url
		go func() {
			for lines.Scan() { // read on, so that the child does not block on a full pipe
				fmt.Fprintln(os.Stderr, lines.Text())
			}
			c.wait()
		}()
		return c, nil
	}
	c.wait()
	return nil, fmt.Errorf("culvert %s did not start: %s", args[0], last)
}

// wait waits for the end of the process. Read all of its output first: Wait closes the pipe.
func (c *childServer) wait() {
	_ = c.Wait() // its exit code does not matter
	close(c.ended)
}

// server starts a Culvert server on the rig's database as a child process.
func (r *rig) server(ctx context.Context) (*childServer, error) {
	return r.child(ctx, "serve", "--listen=127.0.0.1:0", "--admin-listen=", "--api-keys="+apiKey,
		"--jwt-secret=", "--database-url="+r.postgres.DSN(), "--log-level=error")
}

// children starts the bare program and a Culvert server.
func (r *rig) children(ctx context.Context) (bare, server *childServer, err error) {
	if bare, err = r.child(ctx, "bench", "bare"); err == nil {
		server, err = r.server(ctx)
	}
	return bare, server, err
}

// end stops the child and waits until it has ended. It may be called twice.
func (c *childServer) end() error {
	err := c.Process.Signal(syscall.SIGTERM)
	<-c.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// memory returns the process's own memory in bytes.
func (c *childServer) memory() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return kib * 1024, err
		}
	}
	return 0, errors.New("/proc/PID/status has no RssAnon")
}

// cpu returns the CPU time that the process has used so far, user and system.
func (c *childServer) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may contain anything; utime and stime are fields 14 and 15.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat has no CPU time")
	}
	var ticks time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		ticks += time.Duration(n)
	}
	return ticks * time.Second / 100, nil // USER_HZ is 100 for all programs
}
