package cmd

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/culvertmq/culvert/cmd/config"
)

// get sends a GET and returns the status, 0 if there is no answer.
func get(t *testing.T, url string) int {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get(url) //nolint:noctx // it has a timeout
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// TestSIGTERM: readyz fails while the listener is still open, streams and polls end with culvert:reconnect and
// retry, and the process exits with 0 within 10 seconds.
func TestSIGTERM(t *testing.T) {
	data := dataFolder(t)
	c := spawn(t, serveArgs(data, "--drain=2s", "--heartbeat=1")...)
	key, err := config.ReadSecret(filepath.Join(data, config.APIKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	open := func(accept string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url+"/v1/default/events?client=x&wait=50", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Accept", accept)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	stream := open("text/event-stream")
	defer stream.Body.Close()
	polled := make(chan *http.Response, 1)
	go func() { polled <- open("application/json") }()
	if got := get(t, c.url+"/readyz"); got != http.StatusOK {
		t.Fatalf("readyz answers %d", got)
	}
	began := time.Now()
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for status := 0; status != http.StatusServiceUnavailable; {
		if status = get(t, c.url+"/readyz"); status == 0 {
			t.Fatal("the listener closed before readyz failed")
		}
	}
	frames, err := io.ReadAll(stream.Body)
	if err != nil || !strings.Contains(string(frames), "event: culvert:reconnect\n") || !strings.Contains(string(frames), `"drain"`) {
		t.Errorf("the stream ends with %v after\n%s", err, frames)
	}
	poll := <-polled
	page, err := io.ReadAll(poll.Body)
	poll.Body.Close()
	if err != nil || poll.StatusCode != http.StatusOK || !strings.Contains(string(page), `"retry"`) {
		t.Errorf("the poll ends with %d, %s, %v", poll.StatusCode, page, err)
	}
	if code := c.end(t, syscall.Signal(0)); code != exitOK || time.Since(began) > 10*time.Second {
		t.Errorf("exit code %d after %v:\n%s", code, time.Since(began), c.stderr)
	}
	if c := c.stderr.String(); strings.Contains(c, "cut") {
		t.Errorf("connections were cut:\n%s", c)
	}
}

// TestSecondSignal: if a server is slow to stop, a second signal ends it at once.
func TestSecondSignal(t *testing.T) {
	c := spawn(t, serveArgs(dataFolder(t), "--drain=5s")...)
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	c.stderr.await(t, `"msg":"stopping"`)
	began := time.Now()
	for exited := false; !exited; {
		_ = c.Process.Signal(syscall.SIGINT) // it may have exited
		select {
		case <-c.exited:
			exited = true
		case <-time.After(100 * time.Millisecond):
		}
	}
	if code := c.ProcessState.ExitCode(); code != -1 || time.Since(began) > 4*time.Second {
		t.Errorf("exit code %d after %v:\n%s", code, time.Since(began), c.stderr)
	}
}

// TestASignalToldSeveralTimes: signals within a second count as one, and the server stops in order.
func TestASignalToldSeveralTimes(t *testing.T) {
	c := spawn(t, serveArgs(dataFolder(t))...)
	for began := time.Now(); time.Since(began) < sameSignal/3; time.Sleep(10 * time.Millisecond) {
		if err := c.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
	}
	<-c.exited
	if code := c.ProcessState.ExitCode(); code != exitOK || !strings.Contains(c.stderr.String(), "postgres stopped") {
		t.Errorf("exit code %d:\n%s", code, c.stderr)
	}
}

// TestStopWhileStarting: a signal also stops a server that is not ready yet.
func TestStopWhileStarting(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := gone.Addr().String()
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	s := start(t, []string{"DATABASE_URL=postgres://u:hunter2@" + address + "/d", "CULVERT_API_KEYS=the-configured-key"}, serveArgs(t.TempDir())...)
	s.stderr.await(t, "does not answer yet")
	s.cancel()
	if code := s.wait(t); code != exitOK || strings.Contains(s.stderr.String(), "hunter2") {
		t.Errorf("exit code %d: %s", code, s.stderr)
	}
}
