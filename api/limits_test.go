package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// slow is a rate at which the tests see no refill: one token in 100 s, 3 at once.
const slow, three = 0.01, 300 * time.Second

func limited(l Limits) func(*Options) { return func(o *Options) { o.Limits = &l } }

// limitedTo checks a refusal. A missing token is there after 100 s, less the time that has passed.
func (r result) limitedTo(tokens int, over string) {
	r.t.Helper()
	r.problem(429, "rate-limited", "")
	var after int
	if _, err := fmt.Sscan(r.header.Get("Retry-After"), &after); err != nil || after > 100*tokens || after < 100*tokens-30 {
		r.t.Errorf("Retry-After %q for %d tokens", r.header.Get("Retry-After"), tokens)
	}
	if !strings.Contains(r.body, "rate limit of the "+over+" exceeded") {
		r.t.Errorf("%s, want the %s", r.body, over)
	}
}

func TestEmitRateOfAClient(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}), limited(Limits{ClientRate: slow, Burst: three}))
	alice, bob := bearerOf(token(t, "alice", "emit:*", "ns:default", "ns:other")), bearerOf(token(t, "bob", "emit:*"))
	const one, two = `{"event":"e"}`, `{"events":[{"event":"e"},{"event":"e"}]}`
	emit := func(body string, options ...option) result { return s.post("/v1/default/emit", body, options...) }
	emit(two, alice).is(201)
	emit(two, alice).limitedTo(2, "client") // the refused batch took the token of its first event
	emit(one, alice).limitedTo(1, "client")
	emit(`nonsense`, alice).limitedTo(1, "client")
	s.post("/v1/other/emit", one, alice).is(201)
	emit(one, bob).is(201)
	emit(`nonsense`, bob).is(400) // a bad body costs one token, too
	emit(one, bob).is(201)
	emit(one, bob).limitedTo(1, "client")
	for range 5 {
		emit(two).is(201)
	}
	for range 5 { // a backend is trusted, whichever client it acts for
		s.post("/v1/default/emit?client=bob", one).is(201)
	}
	for range 5 {
		s.get("/v1/default/clients/me", bob).is(200)
	}
	if n := testutil.ToFloat64(s.h.metrics.problems.WithLabelValues("rate-limited")); n != 4 {
		t.Errorf("%v problems are counted", n)
	}
}

// TestBatchOverTheBurst: a batch larger than the bucket waits until it is full, and leaves it below zero.
func TestBatchOverTheBurst(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}), limited(Limits{ClientRate: slow, Burst: three}))
	alice := bearerOf(token(t, "alice", "emit:*"))
	s.post("/v1/default/emit", `{"events":[`+strings.Repeat(`{"event":"e"},`, 9)+`{"event":"e"}]}`, alice).is(201)
	s.post("/v1/default/emit", `{"event":"e"}`, alice).limitedTo(8, "client")
}

func TestEmitRateOfANamespace(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}), limited(Limits{NamespaceRate: slow, ClientRate: 1000, Burst: three}))
	const one = `{"event":"e"}`
	s.post("/v1/default/emit", one).is(201)
	s.post("/v1/default/emit?client=c", one).is(201)
	s.post("/v1/default/emit", one, bearerOf(token(t, "alice", "emit:*"))).is(201)
	s.post("/v1/default/emit", one).limitedTo(1, "namespace")
	s.post("/v1/default/emit", one, bearerOf(token(t, "bob", "emit:*"))).limitedTo(1, "namespace")
	s.post("/v1/other/emit", one).is(201)
}

// TestRequestRate: all requests count except emits, and those of backends that act for no client.
func TestRequestRate(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}), limited(Limits{RequestRate: slow, Burst: three}))
	alice := bearerOf(token(t, "alice", "emit:*", "rooms:*"))
	s.get("/v1/default/events?wait=0", alice).is(200)
	s.get("/v1/default/rooms/r/events", alice).is(200)
	s.post("/v1/default/ack", `nonsense`, alice).is(400)
	for _, r := range s.h.echo.Routes() {
		if !strings.HasPrefix(r.Path, "/v1/") || r.Path == emitRoute {
			continue
		}
		path := strings.NewReplacer(":ns", "default", ":room", "r", ":client", "alice").Replace(r.Path)
		s.call(r.Method, path, "", alice).limitedTo(1, "client")
	}
	s.post("/v1/default/emit", `{"event":"e"}`, alice).is(201)
	for range 5 {
		s.get("/v1/default/rooms/r/events").is(200)
	}
	s.get("/v1/default/rooms/r/events?client=bob").is(200)
}

// TestRetryAfterIsRoundedUp: a part of a second counts as a whole one.
func TestRetryAfterIsRoundedUp(t *testing.T) {
	h := &Handler{random: func() float64 { return 0 }}
	for after, want := range map[time.Duration]int{time.Microsecond: 1, time.Second: 1, 1001 * time.Millisecond: 2, 0: 5} {
		if got := h.retryAfter(&wire.Problem{Kind: wire.TooManyConnections, After: after}); got != want {
			t.Errorf("%v is %d", after, got)
		}
	}
}

// TestLimitsOfANamespace: a namespace's own settings win over the server's, also after a change.
func TestLimitsOfANamespace(t *testing.T) {
	s := newSite(t, limited(Limits{ClientRate: 1000, ClientConnections: 5, Burst: three}))
	alice := bearerOf(token(t, "alice", "emit:*", "ns:default", "ns:own"))
	s.call("PUT", "/v1/own", `{"client_rate":0.01,"max_connections_client":1}`).is(201)
	for range 3 {
		s.post("/v1/own/emit", `{"event":"e"}`, alice).is(201)
	}
	s.post("/v1/own/emit", `{"event":"e"}`, alice).limitedTo(1, "client")
	s.post("/v1/default/emit", `{"event":"e"}`, alice).is(201)
	s.stream("/v1/own/events", alice).expect("culvert:hello")
	s.get("/v1/own/events", alice).problem(429, "too-many-connections", "")
	s.stream("/v1/default/events", alice).expect("culvert:hello")
	s.stream("/v1/default/events", alice).expect("culvert:hello")

	s.call("PATCH", "/v1/own", `{"emit_rate":0.01}`).is(200)
	for range 3 {
		s.post("/v1/own/emit", `{"event":"e"}`).is(201)
	}
	s.post("/v1/own/emit", `{"event":"e"}`).limitedTo(1, "namespace")
}

// An application that sets no limits has the default ones.
func TestLimitsThatNobodySet(t *testing.T) {
	o, err := Options{APIKeys: []string{testKey}}.withDefaults()
	if err != nil || *o.Limits != DefaultLimits() || o.RoomQuota.Client == 0 || o.RoomQuota.Namespace == 0 {
		t.Errorf("limits are %+v, %+v, %v", o.Limits, o.RoomQuota, err)
	}
	o, err = Options{APIKeys: []string{testKey}, Limits: new(Limits), RoomQuota: new(event.RoomQuota)}.withDefaults()
	if err != nil || *o.Limits != (Limits{}) || *o.RoomQuota != (event.RoomQuota{}) {
		t.Errorf("limits that are turned off are %+v, %+v, %v", o.Limits, o.RoomQuota, err)
	}
}
