package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

func TestEmitIsReceivedByBothTransports(t *testing.T) {
	s := newSite(t)
	alice := bearerOf(token(t, "alice"))
	st := s.stream("/v1/default/events", alice)
	hello := st.expect("culvert:hello")
	if v := decode(t, hello.Data); v["client"] != "alice" || v["cursor"] != hello.ID {
		t.Errorf("hello %+v", hello)
	}
	cursor := s.emit("*", `{"n": 1}`)
	f := st.expect("e")
	if f.ID != cursor || payload(t, f) != `{"n":1}` {
		t.Errorf("frame %+v, want id %s", f, cursor)
	}
	p := s.get("/v1/default/events?after="+hello.ID, alice).page()
	if !slices.Equal(p.data(), []string{`{"n":1}`}) || p.Cursor != cursor || p.Gap != nil {
		t.Errorf("page %+v", p)
	}
	// Both transports send the same bytes.
	raw := s.get("/v1/default/events?after="+hello.ID, alice).body
	if !strings.Contains(raw, f.Data) {
		t.Errorf("%s is not in %s", f.Data, raw)
	}
}

func TestEmitFields(t *testing.T) {
	s := newSite(t)
	alice := bearerOf(token(t, "alice", "emit:*"))
	start := s.emit("*", "0")

	s.post("/v1/default/emit", `{"event":"to all"}`).is(201)
	s.post("/v1/default/emit", `{"room":"*","event":"from alice","data":[1, "ü\u00fc"]}`, alice).is(201)
	s.post("/v1/default/emit?client=bob", `{"rooms":["*","x","x"],"event":"from bob","binary":"AAECAw=="}`).is(201)
	s.post("/v1/default/emit", `{"event":" nulls","data":null,"binary":null,"except":null,"key":null,"volatile":null,"reply":null}`).is(201)
	s.post("/v1/default/emit", `{"event":"not volatile","volatile":false}`, header("Content-Type", "application/json; charset=UTF-8")).is(201)
	s.post("/v1/default/emit", `{"event":"not for alice","except":["@alice"]}`).is(201)
	s.post("/v1/default/emit", `{"event":"not for its sender","except":["@me"]}`, alice).is(201)
	s.settle(s.post("/v1/default/emit", `{"event":"elsewhere","room":"x"}`).is(201))

	var got []string
	for _, e := range s.get("/v1/default/events?after="+start, bearerOf(token(t, "alice"))).page().Events {
		from, binary := "", ""
		if e.From != nil {
			from = *e.From
		}
		if e.Binary != nil {
			binary = *e.Binary
		}
		got = append(got, fmt.Sprintf("%s|%s|%s|%s|%s", e.Room, e.Event, e.Data, binary, from))
	}
	want := []string{
		"*|to all|null||", `*|from alice|[1,"ü\u00fc"]||alice`, "*|from bob||AAECAw==|bob",
		"*| nulls|null||", "*|not volatile|null||",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestIdempotencyKeys(t *testing.T) {
	s := newSite(t)
	first := s.post("/v1/default/emit", `{"event":"e","key":"k1"}`).is(201).json()
	again := s.post("/v1/default/emit", `{"event":"e"}`, header("Idempotency-Key", "k1")).is(200).json()
	if again["duplicate"] != true || again["offset"] != first["offset"] || again["cursor"] != first["cursor"] {
		t.Errorf("first %v, again %v", first, again)
	}
	s.post("/v1/default/emit", `{"event":"e","key":"k1"}`, header("Idempotency-Key", "k1")).is(200)
	s.post("/v1/default/emit", `{"event":"other","key":"k1"}`).problem(409, "key-reused", "key")
	s.post("/v1/default/emit", `{"event":"e","key":"k1"}`, header("Idempotency-Key", "k2")).problem(422, "invalid", "key")

	batch := s.post("/v1/default/emit", `{"events":[{"event":"e","key":"k1"},{"event":"e","key":"k3"}]}`).is(201).json()
	if fmt.Sprint(batch["duplicates"]) != "[0]" || batch["duplicate"] != nil {
		t.Errorf("batch %v", batch)
	}
	if offsets := batch["offsets"].([]any); offsets[0] != first["offset"] || !strings.HasSuffix(batch["cursor"].(string), ":"+offsets[1].(json.Number).String()) {
		t.Errorf("batch %v", batch)
	}
	whole := s.post("/v1/default/emit", `{"events":[{"event":"e","key":"k3"},{"event":"e","key":"k1"}]}`).is(200).json()
	if fmt.Sprint(whole["duplicates"]) != "[0 1]" || whole["duplicate"] != true {
		t.Errorf("batch %v", whole)
	}
}

// The idempotency keys of a token belong to its client, in every form of an emit. All API keys share one set of
// keys, whichever client they act for.
func TestKeysOfATokenAreItsClients(t *testing.T) {
	s := newSite(t)
	alice, bob := bearerOf(token(t, "alice", "emit:*")), bearerOf(token(t, "bob", "emit:*"))
	one, lines := `{"event":"e","key":"k"}`, "application/x-ndjson"
	s.post("/v1/default/emit", one).is(201)
	s.post("/v1/default/emit", one, alice).is(201)
	s.post("/v1/default/emit", `{"event":"other","key":"k"}`, bob).is(201) // neither a repeat nor a conflict
	s.post("/v1/default/emit", one, alice).is(200)
	s.post("/v1/default/emit", `{"event":"e"}`, alice, header("Idempotency-Key", "k")).is(200)
	s.post("/v1/default/emit", `{"events":[`+one+`]}`, alice).is(200)
	if body := s.post("/v1/default/emit", one+"\n", alice, header("Content-Type", lines)).is(200).body; !strings.Contains(body, `"duplicate":true`) {
		t.Errorf("by a line: %s", body)
	}
	s.post("/v1/default/emit", one, bob).problem(409, "key-reused", "key")
	s.post("/v1/default/emit?client=alice", one).problem(409, "key-reused", "key") // a key of the backends, used with another sender
	s.post("/v1/default/emit", one).is(200)
}

func TestBatchIsAtomic(t *testing.T) {
	s := newSite(t)
	before := s.emit("lobby", "0")
	s.post("/v1/default/emit", `{"events":[{"event":"e","room":"lobby"},{"event":"e","room":""}]}`).problem(422, "invalid", "events[1].room")
	s.post("/v1/default/emit", `{"events":[{"event":"e","room":"lobby"},{"event":"e","rooom":"lobby"}]}`).problem(400, "malformed", "events[1].rooom")
	s.post("/v1/default/emit", `{"events":[{"event":"e","room":"lobby"},7]}`).problem(422, "invalid", "events[1]")
	s.post("/v1/default/emit", `{"events":[{"event":"e","room":"lobby"}]}`, bearerOf(token(t, "a"))).problem(403, "forbidden", "events[0].room")
	if p := s.get("/v1/default/rooms/lobby/events?after=" + before).page(); len(p.Events) != 0 {
		t.Errorf("a refused batch left %v", p.data())
	}
	var b strings.Builder
	for i := range maxBatch {
		fmt.Fprintf(&b, `,{"event":"e","room":"lobby","data":%d}`, i)
	}
	s.post("/v1/default/emit", `{"events":[`+b.String()[1:]+`]}`).is(201)
	if p := s.get("/v1/default/rooms/lobby/events?limit=1000&after=" + before).page(); len(p.Events) != maxBatch || string(p.Events[999].Data) != "999" {
		t.Errorf("%d events came", len(p.Events))
	}
	s.post("/v1/default/emit", `{"events":[`+b.String()[1:]+b.String()+`]}`).problem(422, "invalid", "events")
}

func TestLimitsOfSize(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}))
	fits := `"` + strings.Repeat("x", event.MaxData-2) + `"`
	s.post("/v1/default/emit", `{"event":"e","data":`+fits+`}`).is(201)
	s.post("/v1/default/emit", `{"event":"e","data":[`+fits+`]}`).problem(413, "too-large", "data")
	s.post("/v1/default/emit", `{"event":"e","data":[`+strings.Repeat(" ", 600<<10)+`]}`).is(201)
	body := func(n int) string { return `{"event":"e"` + strings.Repeat(" ", n-13) + `}` }
	s.post("/v1/default/emit", body(wire.MaxBody)).is(201)
	s.post("/v1/default/emit", body(wire.MaxBody+1)).problem(413, "too-large", "")
	chunked := func(n int) result {
		return s.post("/v1/default/emit", body(n), header("Content-Type", "application/json"), unknownLength)
	}
	chunked(wire.MaxBody).is(201)
	chunked(wire.MaxBody+1).problem(413, "too-large", "")

	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	s.post("/v1/default/emit", `{"event":"e","data":`+deep(64)+`}`).is(201)
	s.post("/v1/default/emit", `{"event":"e","data":`+deep(65)+`}`).problem(400, "too-deep", "data")
	s.post("/v1/default/emit", `{"event":"e","data":`+strings.Repeat("[", 500_000)).problem(400, "malformed", "")
}
