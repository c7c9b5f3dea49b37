package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/r3labs/sse/v2"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/internal/tool"
)

// interopNames are event names as applications use them, and more difficult ones.
var interopNames = []string{"chat message", "message", " spaced", "größe:日本", "data"}

// interop runs one client against a stream that is cut in the middle. listen starts the client and calls got
// for every frame. The client reconnects by itself, or is restarted with the last id. No event may be missing
// or out of order.
func interop(t *testing.T, listen func(ctx context.Context, s *site, got func(apitest.Frame))) {
	s := newSite(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	frames := make(chan apitest.Frame)
	done := make(chan struct{})
	go func() {
		defer close(done)
		listen(ctx, s, func(f apitest.Frame) {
			select {
			case frames <- f:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })

	next := func() apitest.Frame {
		t.Helper()
		select {
		case f := <-frames:
			return f
		case <-done:
			t.Fatal("the client ended")
		case <-ctx.Done():
			t.Fatal("nothing came in time")
		}
		return apitest.Frame{}
	}
	if f := next(); f.Event != "culvert:hello" {
		t.Fatalf("the first frame is %+v", f)
	}
	var want, got []string
	last := ""
	for round := range 3 {
		for i, name := range interopNames {
			data := fmt.Sprintf(`{"round":%d,"i":%d,"text":"a\nb\u2028c: data: \"ü\""}`, round, i)
			body, _ := json.Marshal(map[string]any{"event": name, "data": json.RawMessage(data)})
			cursor := s.post("/v1/default/emit", string(body)).is(201).json()["cursor"].(string)
			want = append(want, cursor+" "+name+" "+data)
		}
		for len(got) < len(want) {
			f := next()
			if strings.HasPrefix(f.Event, "culvert:") {
				continue
			}
			got = append(got, f.ID+" "+f.Event+" "+payload(t, f))
			last = f.ID
		}
		s.server.CloseClientConnections()
		s.client.CloseIdleConnections() // the emitter's connections were cut, too
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q, up to %s", got, want, last)
	}
}

func TestR3labsClient(t *testing.T) {
	interop(t, func(ctx context.Context, s *site, got func(apitest.Frame)) {
		c := sse.NewClient(s.url + "/v1/default/events?client=r3labs")
		c.Headers["Authorization"] = "Bearer " + testKey
		c.ReconnectStrategy = once{} // its own strategy ignores the context
		defer c.Connection.CloseIdleConnections()
		for ctx.Err() == nil { // the client does not reconnect when a stream ends
			_ = c.SubscribeRawWithContext(ctx, func(e *sse.Event) {
				got(apitest.Frame{ID: string(e.ID), Event: string(e.Event), Data: string(e.Data)})
			})
		}
	})
}

// once is a backoff that gives up at once.
type once struct{}

func (once) NextBackOff() time.Duration { return -1 }

func (once) Reset() {}

func TestCurl(t *testing.T) {
	interop(t, func(ctx context.Context, s *site, got func(apitest.Frame)) {
		last := ""
		for ctx.Err() == nil {
			c := exec.CommandContext(ctx, "curl", "--no-buffer", "--silent", "--show-error",
				"--header", "Accept: text/event-stream", "--header", "Authorization: Bearer "+testKey,
				"--header", "Last-Event-ID: "+last, s.url+"/v1/default/events?client=curl")
			out, err := c.StdoutPipe()
			if err != nil {
				t.Error(err)
				return
			}
			if err := c.Start(); err != nil {
				if ctx.Err() == nil { // otherwise the test is over
					t.Error(err)
				}
				return
			}
			p := apitest.NewParser(out)
			p.ID = last
			for f, err := p.Next(); err == nil; f, err = p.Next() {
				last = f.ID
				got(f)
			}
			_ = c.Wait() // the connection was cut
		}
	})
}

// TestEventSource runs the npm package eventsource, which reconnects as the standard says and keeps the last
// event id. The token is in the URL, as for a browser's EventSource.
func TestEventSource(t *testing.T) {
	tool.Path(t, "node")
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "listen.mjs"} {
		b, err := os.ReadFile(filepath.Join("testdata", "interop", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	npm := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	interop(t, func(ctx context.Context, s *site, got func(apitest.Frame)) {
		address := s.url + "/v1/default/events?access_token=" + url.QueryEscape(token(t, "browser"))
		args := append([]string{"listen.mjs", address, "culvert:hello", "culvert:heartbeat"}, interopNames...)
		c := exec.CommandContext(ctx, "node", args...)
		c.Dir = dir
		var stderr bytes.Buffer
		c.Stderr = &stderr
		out, err := c.StdoutPipe()
		if err != nil {
			t.Error(err)
			return
		}
		if err := c.Start(); err != nil {
			t.Error(err)
			return
		}
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				if !errors.Is(err, io.EOF) && ctx.Err() == nil {
					t.Error(err)
				}
				break
			}
			var e struct{ Type, ID, Data string }
			if err := json.Unmarshal(line, &e); err != nil {
				t.Error(err)
			}
			got(apitest.Frame{ID: e.ID, Event: e.Type, Data: e.Data})
		}
		if err := c.Wait(); err != nil && ctx.Err() == nil {
			t.Errorf("node: %v\n%s", err, stderr.String())
		}
	})
}
