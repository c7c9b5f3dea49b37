package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// benchChild is a server in a process of its own, so that what it takes can be told
// from what its clients take.
type benchChild struct {
	*exec.Cmd
	url string
}

// cost measures the memory of a stream on which nothing happens, and the CPU time of
// deliveries.
func (b *bench) cost(ctx context.Context) (err error) {
	if runtime.GOOS != "linux" {
		fmt.Fprintln(b.p.stderr, "culvert: cost is only measured on Linux, where /proc tells it")
		b.rows = append(b.rows, benchRow{what: "memory and CPU of streams", measured: "not on " + runtime.GOOS})
		return nil
	}
	r, err := newRig(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	bare, err := r.child(ctx, "bench", "bare")
	if err != nil {
		return err
	}
	server, err := r.child(ctx, "serve", "--listen=127.0.0.1:0", "--admin-listen=", "--api-keys="+benchKey,
		"--jwt-secret=", "--database-url="+r.postgres.DSN(), "--log-level=error")
	if err != nil {
		return err
	}
	clientURL := func(i int) string { return server.url + "/v1/default/events?client=c" + strconv.Itoa(i) }
	bareURL := func(int) string { return bare.url }
	var memory, busy [2]float64
	if memory[0], err = bare.idle(ctx, bareURL); err == nil {
		memory[1], err = server.idle(ctx, clientURL)
	}
	if err != nil {
		return err
	}
	b.rows = append(b.rows, benchRow{
		"memory of an idle SSE stream", kibibytes(memory[1]), kibibytes(memory[0]), fmt.Sprintf("%.2f x", memory[1]/memory[0]), "1.5 x",
	})
	post := newPoster(server.url+"/v1/default/emit", benchEvent, 2)
	defer post.close()
	emit := func(ctx context.Context, _ int) error { return post.post(ctx) }
	send := newPoster(bare.url, benchEvent, 2)
	defer send.close()
	if busy[0], err = bare.deliver(ctx, bareURL, func(ctx context.Context, _ int) error { return send.post(ctx) }); err == nil {
		busy[1], err = server.deliver(ctx, func(int) string { return server.url + "/v1/default/events?rooms=lobby" }, emit)
	}
	if err != nil {
		return err
	}
	b.rows = append(b.rows, benchRow{
		"server CPU of 100,000 SSE deliveries", fmt.Sprintf("%.2f s", busy[1]), fmt.Sprintf("%.2f s", busy[0]),
		fmt.Sprintf("%.2f x", busy[1]/busy[0]), "1.3 x",
	})
	return nil
}

func kibibytes(n float64) string { return fmt.Sprintf("%.1f KiB", n/1024) }

// child starts this program once more; the rig ends it.
func (r *rig) child(ctx context.Context, args ...string) (*benchChild, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &benchChild{Cmd: exec.CommandContext(ctx, program, args...)}
	said, err := c.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	r.close = append(r.close, func() error {
		err := c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait() // how it ends is no matter
		return err
	})
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
			for lines.Scan() { // lest it waits for a reader
				fmt.Fprintln(os.Stderr, lines.Text())
			}
		}()
		return c, nil
	}
	return nil, fmt.Errorf("culvert %s did not start: %s", args[0], last)
}

// idle is what one more stream takes of memory.
func (c *benchChild) idle(ctx context.Context, url func(i int) string) (float64, error) {
	open := func() ([]*benchStream, float64, error) {
		streams, err := openStreams(ctx, url)
		if err != nil {
			return streams, 0, err
		}
		select {
		case <-time.After(5 * time.Second): // what opening left behind is collected
		case <-ctx.Done():
		}
		memory, err := c.memory()
		return streams, memory, err
	}
	first, few, err := open()
	defer closeAll(first)
	if err != nil {
		return 0, err
	}
	second, many, err := open()
	defer closeAll(second)
	return (many - few) / benchStreams, err
}

// deliver returns the seconds of CPU that 100,000 deliveries take.
func (c *benchChild) deliver(ctx context.Context, url func(i int) string, emit func(context.Context, int) error) (float64, error) {
	f := fan{events: 600, to: benchStreams, ahead: 1} // one by one: frames that share a write cost less
	var before time.Duration
	var begun sync.Once // with the first emit: to open the streams is not to deliver
	if _, err := f.deliver(ctx, url, func(ctx context.Context, i int) (err error) {
		begun.Do(func() { before, err = c.cpu() })
		return errors.Join(err, emit(ctx, i))
	}); err != nil {
		return 0, err
	}
	after, err := c.cpu()
	return (after - before).Seconds() * 100_000 / float64(f.events*f.to), err
}

// memory is what the process holds for itself, in bytes.
func (c *benchChild) memory() (float64, error) {
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
	return 0, errors.New("/proc tells no RssAnon")
}

// cpu is what the process has used so far, in user and system.
func (c *benchChild) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything; utime and stime are 14 and 15.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("/proc tells no CPU time")
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

// bareCommand is the bare program as a process of its own: whoever gets, gets frames;
// whoever posts has one sent to all.
func (p *process) bareCommand() *cobra.Command {
	return &cobra.Command{
		Use: "bare", Short: "What cost compares with", Hidden: true, Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			hub := &bareHub{}
			server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					hub.sendAll(benchFrame)
					answerOnly(w, r)
					return
				}
				hub.ServeHTTP(w, r)
			})}
			stop := context.AfterFunc(c.Context(), func() { _ = server.Close() })
			defer stop()
			fmt.Fprintf(p.stderr, "ready http://%s\n", l.Addr())
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
	}
}
