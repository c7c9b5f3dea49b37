package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/event"
)

// recorder is a connection without a network, so that time can be faked. If its client does not read, Flush
// waits until the write deadline.
type recorder struct {
	mu       sync.Mutex
	header   http.Header
	status   int
	body     strings.Builder
	flushes  int
	deadline time.Time
	stalled  bool
	broken   bool
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) { r.status = status }

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.body.Write(b)
}

func (r *recorder) SetWriteDeadline(t time.Time) error {
	r.deadline = t
	return nil
}

func (r *recorder) FlushError() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flushes++
	if r.broken {
		return errors.New("connection reset by peer")
	}
	if r.stalled {
		time.Sleep(time.Until(r.deadline))
		return context.DeadlineExceeded
	}
	return nil
}

// seen returns the frames so far, in short form.
func (r *recorder) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, f := range apitest.ParseFrames(r.body.String()) {
		all = append(all, strings.TrimPrefix(f.Event, "culvert:"))
	}
	return all
}

func (r *recorder) last() apitest.Frame {
	r.mu.Lock()
	defer r.mu.Unlock()
	frames := apitest.ParseFrames(r.body.String())
	return frames[len(frames)-1]
}

// bench is a handler with one request under way, in a synctest bubble, where time is faked.
type bench struct {
	t      *testing.T
	m      *memory
	h      *Handler
	w      *recorder
	cancel context.CancelFunc
	done   chan struct{}
}

// inBubble sends a request to /v1/default/events for the client c (for a stream unless accept says otherwise),
// and then runs test, in a synctest bubble.
func inBubble(t *testing.T, m *memory, query, auth, accept string, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h, err := newHandler(inMemory(m), Options{APIKeys: []string{testKey}, JWTSecret: testSecret, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		h.random = func() float64 { return 0 }
		if auth == "" {
			auth = testKey
			query += "&client=c"
		} else {
			auth = tokenUntil(t, "c", time.Now().Add(time.Minute))
		}
		ctx, cancel := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(ctx, "GET", "/v1/default/events?"+query, nil)
		r.Body, r.ContentLength = http.NoBody, 0
		r.Header.Set("Authorization", "Bearer "+auth)
		r.Header.Set("Accept", accept)
		b := &bench{t, m, h, &recorder{header: http.Header{}}, cancel, make(chan struct{})}
		go func() {
			defer close(b.done)
			h.ServeHTTP(b.w, r)
		}()
		synctest.Wait()
		test(b)
		cancel()
		<-b.done
		if n := len(m.subs); n != 0 {
			t.Errorf("%d subscriptions are left open", n)
		}
		if err := h.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

const sseType = "text/event-stream"

func (b *bench) emit(data string) {
	b.t.Helper()
	e, _ := event.ParseEventName("e")
	d, err := event.ParseData([]byte(data))
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.m.Append(b.t.Context(), []event.Emit{{Event: e, Data: d}}); err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
}

func (b *bench) sees(want ...string) {
	b.t.Helper()
	synctest.Wait()
	if got := b.w.seen(); !slices.Equal(got, want) {
		b.t.Errorf("frames %v, want %v", got, want)
	}
}

// ended reports whether the handler has returned.
func (b *bench) ended() bool {
	synctest.Wait()
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}
