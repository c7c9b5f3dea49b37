package api

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/event"
)

func TestDrain(t *testing.T) {
	s := newSite(t)
	alice := bearerOf(token(t, "alice"))
	s.get("/readyz", header("Authorization", "")).is(200)
	open := s.stream("/v1/default/events", alice)
	open.expect("culvert:hello")
	held := make(chan result)
	go func() { held <- s.get("/v1/default/events?wait=50", alice) }()
	apitest.Until(t, func() bool { return gauge(t, s.h.metrics.polls) == 1 && gauge(t, s.h.metrics.streams) == 1 })

	s.h.Drain()
	if f := open.expect("culvert:reconnect"); decode(t, f.Data)["reason"] != "drain" {
		t.Errorf("frame %+v", f)
	}
	open.ends()
	if p := (<-held).page(); p.Retry == nil || len(p.Events) != 0 || p.Cursor == "" {
		t.Errorf("page %+v", p)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.h.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	s.get("/readyz").problem(503, "draining", "")
	s.get("/livez").is(200)
	s.emit("*", "1") // emits are still accepted

	late := s.stream("/v1/default/events", alice)
	late.expect("culvert:hello")
	late.expect("culvert:reconnect")
	late.ends()
	// A new poll gets the events that exist, but does not wait.
	if p := s.get("/v1/default/events?wait=50", alice).page(); p.Retry == nil || len(p.Events) != 1 {
		t.Errorf("page %+v", p)
	}
	s.post("/v1/default/ack", `{"cursor":"`+s.h.queue.Head().String()+`"}`, alice).is(200)
	if p := s.get("/v1/default/events?wait=50", alice).page(); p.Retry == nil || len(p.Events) != 0 {
		t.Errorf("page %+v", p)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	var all sessions
	n := all.enter(t.Context(), event.Namespace{}, &auth.Identity{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := all.wait(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	waited := make(chan error)
	go func() { waited <- all.wait(t.Context()) }()
	apitest.Until(t, func() bool {
		all.mu.Lock()
		defer all.mu.Unlock()
		return len(all.idle) > 0
	})
	n.leave()
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

// TestASessionThatOutlivesItsRequest: its own end is told, whoever ends it; that of the request means nothing.
func TestASessionThatOutlivesItsRequest(t *testing.T) {
	for want, end := range map[string]func(s *sessions, n *session){
		"drain": func(s *sessions, _ *session) { s.drain() },
		"":      func(_ *sessions, n *session) { n.left() },
	} {
		var all sessions
		ctx, cancel := context.WithCancel(t.Context())
		n := all.enter(ctx, event.Namespace{}, &auth.Identity{})
		told := 0
		n.outlive(func() { told++ })
		cancel()
		if n.Err() != nil || told != 0 {
			t.Errorf("it ended with its request: %v, told %d times", n.Err(), told)
		}
		if end(&all, n); n.Err() == nil || n.Reason() != want || told != 1 {
			t.Errorf("%v, reason %q, want %q; told %d times", n.Err(), n.Reason(), want, told)
		}
		n.leave()
	}
	var all sessions
	all.drain()
	n := all.enter(t.Context(), event.Namespace{}, &auth.Identity{})
	if n.outlive(func() {}); n.Reason() != "drain" {
		t.Error("the reason is lost")
	}
	n.leave()
}

func TestReadyz(t *testing.T) {
	m := &memory{pingErr: event.ErrUnavailable}
	s := siteOf(t, inMemory(m))
	s.get("/readyz").problem(503, "unavailable", "")
	s.get("/livez").is(200)
	if r := s.call("HEAD", "/livez", "", header("Authorization", "")); r.status != 200 {
		t.Errorf("HEAD /livez: %d", r.status)
	}
}

// TestTheHandlerNoticesALostClient closes connections without ending their requests.
func TestTheHandlerNoticesALostClient(t *testing.T) {
	s := newSite(t)
	for range 5 {
		st := s.stream("/v1/default/events?client=c")
		st.expect("culvert:hello")
		go st.close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		res, err := s.client.Do(s.request(ctx, "GET", "/v1/default/events?client=c&wait=50", ""))
		if err == nil {
			res.Body.Close()
		}
	}()
	apitest.Until(t, func() bool { return gauge(t, s.h.metrics.polls) == 1 })
	cancel()
	apitest.Until(t, func() bool { return gauge(t, s.h.metrics.polls)+gauge(t, s.h.metrics.streams) == 0 })
}
