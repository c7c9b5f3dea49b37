package api

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/event"
)

// waiting starts a call and returns when the server holds it open.
func (s *site) waiting(path, body string, options ...option) <-chan result {
	s.t.Helper()
	before := gauge(s.t, s.h.metrics.waits)
	c := make(chan result, 1)
	go func() { c <- s.post(path, body, options...) }()
	apitest.Until(s.t, func() bool { return gauge(s.t, s.h.metrics.waits) > before })
	return c
}

// asked polls a client's events and returns the offset of the newest one that asks for a reply.
func (s *site) asked(client string) json.Number {
	s.t.Helper()
	var offset json.Number
	apitest.Until(s.t, func() bool {
		for _, e := range s.get("/v1/default/events?wait=0&from=earliest&client=" + client).json()["events"].([]any) {
			if e := e.(map[string]any); e["reply"] != nil {
				offset = e["offset"].(json.Number)
			}
		}
		return offset != ""
	})
	return offset
}

// outcome returns the answer of a waiting emit without offset and cursor.
func (r result) outcome() string {
	r.t.Helper()
	_, rest, found := strings.Cut(r.body, `,"replies":`)
	if !found {
		r.t.Fatalf("the answer has no replies: %s", r.body)
	}
	return `{"replies":` + rest
}

func TestEmitWaitsForAReplyByAnotherInstance(t *testing.T) {
	a, b, _ := twoSites(t)
	alice, bob := bearerOf(token(t, "alice", "emit:@bob")), bearerOf(token(t, "bob"))
	st := b.stream("/v1/default/events", bob)
	st.expect("culvert:hello")
	mine := b.stream("/v1/default/events", alice)
	mine.expect("culvert:hello")
	apitest.Until(t, func() bool { return a.get("/v1/default/clients/me", bob).json()["online"] == true })

	held := a.waiting("/v1/default/emit?wait=50", `{"room":"@bob","event":"question","data":"?","reply":{}}`, alice)
	f := st.expect("question")
	e := decode(t, f.Data)
	if until, _ := e["reply"].(map[string]any)["until"].(string); until == "" {
		t.Errorf("the event does not say that it wants a reply: %s", f.Data)
	}
	first := b.post("/v1/default/reply", fmt.Sprintf(`{"offset":%s,"data":{"answer": 42}}`, e["offset"]), bob).is(201)
	if first.body != fmt.Sprintf(`{"offset":%s}`, e["offset"]) {
		t.Errorf("answered %s", first.body)
	}
	r := (<-held).is(201)
	if got := r.outcome(); got != `{"replies":[{"from":"bob","data":{"answer":42}}],"complete":true}` || r.json()["offset"] != e["offset"] {
		t.Errorf("the waiting emit got %s", r.body)
	}
	f = mine.expect("culvert:reply")
	if want := fmt.Sprintf(`{"to":%s,"from":"bob","data":{"answer":42}}`, e["offset"]); payload(t, f) != want {
		t.Errorf("alice got %s, want %s", f.Data, want)
	}
	again := a.post("/v1/default/reply", fmt.Sprintf(`{"offset":%s,"data":"other"}`, e["offset"]), bob).is(200)
	if again.json()["duplicate"] != true {
		t.Errorf("second reply: %s", again.body)
	}
}

func TestAskTheBackend(t *testing.T) {
	a, b, _ := twoSites(t)
	alice := bearerOf(token(t, "alice", "emit:orders"))
	held := a.waiting("/v1/default/emit?wait=50", `{"room":"orders","event":"order","reply":{"count":1}}`, alice)
	p := b.get("/v1/default/events?rooms=orders&from=earliest&wait=20").page()
	b.post("/v1/default/reply", fmt.Sprintf(`{"offset":%d,"binary":"AAECAw=="}`, p.Events[0].Offset)).is(201)
	if got := (<-held).is(201).outcome(); got != `{"replies":[{"from":null,"binary":"AAECAw=="}],"complete":true}` {
		t.Errorf("the waiting emit got %s", got)
	}
	b.post("/v1/default/reply?client=dora", fmt.Sprintf(`{"offset":%d}`, p.Events[0].Offset)).problem(410, "reply-closed", "")
}

func TestWaitEndsWithWhatIsThere(t *testing.T) {
	a, b, _ := twoSites(t)
	body := `{"event":"question","key":"k","reply":{"timeout":%s,"count":3}}`
	held := a.waiting("/v1/default/emit?wait=0.5", fmt.Sprintf(body, "60"))
	to := b.asked("bob")
	b.post("/v1/default/reply?client=bob", `{"offset":`+to.String()+`}`).is(201)
	const partial = `{"replies":[{"from":"bob","data":null}],"complete":false}`
	if got := (<-held).is(201).outcome(); got != partial {
		t.Errorf("at the end of its wait the emit was answered %s", got)
	}

	// The same key waits for the same replies, on either instance.
	again := b.waiting("/v1/default/emit?wait=50", fmt.Sprintf(body, "60"))
	a.post("/v1/default/reply?client=carol", `{"offset":`+to.String()+`}`).is(201)
	a.post("/v1/default/reply?client=dave", `{"offset":`+to.String()+`}`).is(201)
	r := (<-again).is(200)
	if v := r.json(); v["duplicate"] != true || v["offset"] != to || v["complete"] != true || len(v["replies"].([]any)) != 3 {
		t.Errorf("repeated: %s", r.body)
	}
	a.post("/v1/default/reply?client=erin", `{"offset":`+to.String()+`}`).problem(410, "reply-closed", "")

	r = a.post("/v1/default/emit?wait=50", `{"event":"question","reply":{"timeout":0.05,"count":1}}`).is(201)
	if got := r.outcome(); got != `{"replies":[],"complete":false}` {
		t.Errorf("at the timeout of its ask the emit was answered %s", got)
	}
	a.post("/v1/default/reply?client=bob", fmt.Sprintf(`{"offset":%s}`, r.json()["offset"])).problem(410, "reply-closed", "")
	if got := a.post("/v1/default/emit?wait=50", `{"room":"nowhere","event":"question","reply":{}}`).is(201).outcome(); got != `{"replies":[],"complete":true}` {
		t.Errorf("nobody is expected: %s", got)
	}
}

func TestReplyIsForReceivers(t *testing.T) {
	s := newSite(t)
	r := s.post("/v1/default/emit", `{"rooms":["lobby","@bob"],"except":["@frank"],"event":"q","reply":{}}`).is(201)
	body := fmt.Sprintf(`{"offset":%s}`, r.json()["offset"])
	reply := func(sub string, rights ...string) result {
		return s.post("/v1/default/reply", body, bearerOf(token(t, sub, rights...)))
	}
	nothing := reply("stranger").problem(404, "not-found", "").body
	for what, r := range map[string]result{
		"excepted":                            reply("frank", "rooms:lobby"),
		"another namespace":                   s.post("/v1/other/reply", body),
		"unknown":                             s.post("/v1/default/reply", `{"offset":1}`),
		"asked for nothing":                   s.post("/v1/default/reply", fmt.Sprintf(`{"offset":%s}`, s.post("/v1/default/emit", `{"event":"e"}`).json()["offset"])),
		"by a backend for an excepted client": s.post("/v1/default/reply?client=frank", body),
	} {
		if r.problem(404, "not-found", "").body != nothing {
			t.Errorf("%s: %s, want %s", what, r.body, nothing)
		}
	}
	reply("bob").is(201)
	reply("reader", "rooms:lob*").is(201)
	s.post("/v1/default/reply", body).is(201)
	s.post("/v1/default/reply", body).is(200)
}

func TestWaitingEmitEnds(t *testing.T) {
	s := newSite(t)
	ask := `{"event":"q","reply":{"count":1}}`
	// The client leaves.
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		res, err := s.client.Do(s.request(ctx, "POST", "/v1/default/emit?wait=50", ask))
		if err == nil {
			res.Body.Close()
		}
	}()
	apitest.Until(t, func() bool { return gauge(t, s.h.metrics.waits) == 1 })
	cancel()
	apitest.Until(t, func() bool { return gauge(t, s.h.metrics.waits) == 0 })
	// The token expires.
	soon := bearerOf(tokenUntil(t, "alice", time.Now().Add(2*time.Second), "emit:*"))
	if got := s.post("/v1/default/emit?wait=50", ask, soon).is(201).outcome(); got != `{"replies":[],"complete":false}` {
		t.Errorf("when its token expired the emit was answered %s", got)
	}
	// The server drains.
	held := s.waiting("/v1/default/emit?wait=50", ask)
	s.h.Drain()
	if got := (<-held).is(201).outcome(); got != `{"replies":[],"complete":false}` {
		t.Errorf("when the server drained the emit was answered %s", got)
	}
}

func TestWaitWithoutPostgres(t *testing.T) {
	s := siteOf(t, inMemory(&memory{awaitErr: event.ErrUnavailable}))
	s.post("/v1/default/emit?wait=0", `{"event":"q","reply":{}}`).problem(503, "unavailable", "")
}
