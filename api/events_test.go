package api

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

const eventsOfAlice = "/v1/default/events?wait=0"

// TestAtLeastOnce: events after the stored cursor are delivered again until they are acknowledged, on either
// transport and by either instance.
func TestAtLeastOnce(t *testing.T) {
	dsn := pgtest.Database(t)
	one, two := siteOf(t, ownersOf(openQueue(t, dsn))), siteOf(t, ownersOf(openQueue(t, dsn)))
	alice := bearerOf(token(t, "alice"))
	one.get(eventsOfAlice, alice).is(200) // from now on alice is known
	first := one.emit("@alice", "1")
	one.emit("*", "2")
	one.emit("@bob", `"not hers"`)

	all := []string{"1", "2"}
	for range 2 {
		if p := one.get(eventsOfAlice, alice).page(); !slices.Equal(p.data(), all) {
			t.Fatalf("page %+v", p)
		}
		st := two.stream("/v1/default/events", alice)
		st.expect("culvert:hello")
		for _, want := range all {
			if f := st.expect("e"); payload(t, f) != want {
				t.Fatalf("frame %+v, want %s", f, want)
			}
		}
		st.close()
	}
	two.post("/v1/default/ack", `{"cursor":"`+first+`"}`, alice).is(200)
	if p := one.get(eventsOfAlice, alice).page(); !slices.Equal(p.data(), all[1:]) {
		t.Errorf("after the ack: %+v", p)
	}
}

func TestAClientNeverSeenStartsAtTheHead(t *testing.T) {
	s := newSite(t)
	s.emit("*", "1")
	alice := bearerOf(token(t, "alice"))
	st := s.stream("/v1/default/events", alice)
	st.expect("culvert:hello")
	s.emit("*", "2")
	if f := st.expect("e"); payload(t, f) != "2" {
		t.Errorf("frame %+v", f)
	}
	st.close()
	// From then on her cursor is kept.
	s.emit("*", "3")
	if p := s.get(eventsOfAlice, alice).page(); !slices.Equal(p.data(), []string{"2", "3"}) {
		t.Errorf("page %+v", p)
	}
}

func TestWhereToStart(t *testing.T) {
	s := newSite(t)
	alice := bearerOf(token(t, "alice"))
	var at []string
	for i := range 6 {
		at = append(at, s.emit("*", fmt.Sprint(i)))
	}
	s.post("/v1/default/ack", `{"cursor":"`+at[4]+`"}`, alice).is(200)
	id := func(i int) option { return header("Last-Event-ID", at[i]) }
	for _, c := range []struct {
		query   string
		options []option
		want    int // the first event that is delivered
	}{
		{"", nil, 5},
		{"&from=earliest", nil, 0},
		{"&after=" + at[3], nil, 4},
		{"&after=" + at[3] + "&from=earliest", nil, 4},
		{"&last_event_id=" + at[2], nil, 3},
		{"&lastEventId=" + at[2], nil, 3},
		{"&lastEventId=" + at[2] + "&last_event_id=" + at[2] + "&after=" + at[2], nil, 3},
		{"&after=" + at[3], []option{id(1)}, 2},
		{"&lastEventId=" + at[3], []option{id(1)}, 2},
		{"&lastEventId=&last_event_id=&after=" + at[3], []option{header("Last-Event-ID", " ")}, 4},
	} {
		options := append([]option{alice}, c.options...)
		p := s.get(eventsOfAlice+c.query, options...).page()
		if len(p.Events) != 6-c.want || string(p.Events[0].Data) != fmt.Sprint(c.want) || p.Cursor != at[5] {
			t.Errorf("poll %s: %v, want from %d", c.query, p.data(), c.want)
		}
		st := s.stream(eventsOfAlice+c.query, options...)
		hello := st.expect("culvert:hello")
		if f := st.expect("e"); payload(t, f) != fmt.Sprint(c.want) {
			t.Errorf("stream %s: %+v, want from %d", c.query, f, c.want)
		}
		// The hello has no id for a client that sent a cursor: it keeps that until the first event.
		if sent := strings.Contains(c.query, "after") || strings.Contains(c.query, "last"); (hello.ID == "") != sent {
			t.Errorf("stream %s: hello %+v", c.query, hello)
		}
		st.close()
	}
}

func TestCursorMovesWithTheHead(t *testing.T) {
	s := newSite(t)
	alice := bearerOf(token(t, "alice"))
	before := s.get(eventsOfAlice, alice).page().Cursor
	last := s.emit("elsewhere", "1")
	if p := s.get(eventsOfAlice+"&after="+before, alice).page(); len(p.Events) != 0 || p.Cursor != last {
		t.Errorf("page %+v, want cursor %s", p, last)
	}
	short := newSite(t, func(o *Options) { o.Heartbeat = 50 * time.Millisecond })
	st := short.stream("/v1/default/events", alice)
	hello := st.expect("culvert:hello")
	last = short.emit("elsewhere", "1")
	for f := st.expect("culvert:heartbeat"); f.ID != last; f = st.expect("culvert:heartbeat") {
		if f.ID != hello.ID {
			t.Fatalf("heartbeat %+v is neither at %s nor at %s", f, hello.ID, last)
		}
	}
}

func TestPagesAndMore(t *testing.T) {
	s := newSite(t)
	alice := bearerOf(token(t, "alice"))
	at := s.get(eventsOfAlice, alice).page().Cursor
	for i := range 5 {
		s.emit("*", fmt.Sprint(i))
	}
	var got []string
	for more := true; more; {
		p := s.get(eventsOfAlice+"&limit=2&after="+at, alice).page()
		if len(p.Events) > 2 {
			t.Fatalf("page %+v", p)
		}
		got, at, more = append(got, p.data()...), p.Cursor, p.More
	}
	if !slices.Equal(got, []string{"0", "1", "2", "3", "4"}) {
		t.Errorf("got %v", got)
	}
}

func TestAck(t *testing.T) {
	s := newSite(t)
	alice := bearerOf(token(t, "alice"))
	var at []string
	for i := range 4 {
		at = append(at, s.emit("*", fmt.Sprint(i)))
	}
	ack := func(cursor string) any {
		return s.post("/v1/default/ack", `{"cursor":"`+cursor+`"}`, alice).is(200).json()["cursor"]
	}
	stored := func() any { return s.get("/v1/default/clients/me", alice).is(200).json()["cursor"] }
	if got := ack(at[1]); got != at[1] || stored() != at[1] {
		t.Errorf("ack answers %v", got)
	}
	if got := ack(at[0]); got != at[1] {
		t.Errorf("an older ack answers %v, want %s", got, at[1])
	}
	if got := s.get(eventsOfAlice+"&ack="+at[2], alice).page(); !slices.Equal(got.data(), []string{"3"}) || stored() != at[2] {
		t.Errorf("ack=: %v, stored %v", got.data(), stored())
	}
	// ack=auto without a cursor to start after acknowledges nothing; with one it acknowledges that.
	s.get(eventsOfAlice+"&ack=auto", alice).is(200)
	if stored() != at[2] {
		t.Errorf("ack=auto moved the cursor to %v", stored())
	}
	s.get(eventsOfAlice+"&ack=auto", alice, header("Last-Event-ID", at[3])).is(200)
	if stored() != at[3] {
		t.Errorf("ack=auto left the cursor at %v", stored())
	}
	if p := s.get(eventsOfAlice+"&ack=auto&after=0ther:99", alice).page(); p.Gap == nil || p.Gap.Reason != "log" || p.Gap.From != "0ther:99" {
		t.Errorf("a cursor of another log: %+v", p)
	}
	// The cursor of another client does not move.
	s.post("/v1/default/ack?client=bob", `{"cursor":"`+at[0]+`"}`).is(200)
	if stored() != at[3] {
		t.Errorf("bob's ack moved alice's cursor to %v", stored())
	}
}

func TestGapComesFirst(t *testing.T) {
	s := newSite(t)
	alice := bearerOf(token(t, "alice"))
	s.emit("*", "1")
	st := s.stream("/v1/default/events?after=0ther:99", alice)
	if f := st.expect("culvert:hello"); f.ID != "" {
		t.Errorf("hello overwrites the client's cursor before the gap was sent: %+v", f)
	}
	gap := st.expect("culvert:gap")
	if v := decode(t, gap.Data); gap.ID != "" || v["from"] != "0ther:99" || v["reason"] != "log" {
		t.Errorf("gap %+v", gap)
	}
	if f := st.expect("e"); payload(t, f) != "1" {
		t.Errorf("frame %+v", f)
	}
}

func TestAdHocRooms(t *testing.T) {
	s := newSite(t)
	start := s.emit("*", "0")
	for _, room := range []string{"a", "b", "a,b", "c", "@bob", "octo/repo"} {
		s.emit(room, `"`+room+`"`)
	}
	get := func(query string, options ...option) []string {
		return s.get("/v1/default/events?wait=0&after="+start+"&"+query, options...).page().data()
	}
	for query, want := range map[string][]string{
		"rooms=a":                    {`"a"`},
		"rooms=a,b":                  {`"a"`, `"b"`},
		"rooms=a,b&rooms=c":          {`"a,b"`, `"c"`},
		"rooms=a,b&rooms=a,b":        {`"a,b"`},
		"rooms=octo%2Frepo":          {`"octo/repo"`},
		"rooms=%40bob":               {`"@bob"`},
		"rooms=a&client=somebody":    {`"a"`},
		"rooms=a&rooms=b&rooms=none": {`"a"`, `"b"`},
	} {
		if got := get(query); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	s.get("/v1/default/clients/somebody").is(404) // nothing was stored
	bob := bearerOf(token(t, "bob", "rooms:a"))
	if got := get("rooms=a,@bob,*", bob); !slices.Equal(got, []string{`"a"`, `"@bob"`}) {
		t.Errorf("bob reads %v", got)
	}
	star := bearerOf(token(t, "eve", "rooms:*"))
	if got := get("rooms=c", star); !slices.Equal(got, []string{`"c"`}) {
		t.Errorf("eve reads %v", got)
	}
	s.get("/v1/default/events?wait=0&rooms=@bob", star).problem(403, "forbidden", "rooms")
	if got := get("rooms=@bob", bearerOf(token(t, "eve", "rooms:@b*"))); len(got) != 1 {
		t.Errorf("eve reads %v", got)
	}
}

func TestLongPollWaits(t *testing.T) {
	s := newSite(t)
	alice := bearerOf(token(t, "alice"))
	s.get(eventsOfAlice, alice).is(200)
	got := make(chan eventPage)
	go func() { got <- s.get("/v1/default/events?wait=50", alice).page() }()
	apitest.Until(t, func() bool { return gauge(t, s.h.metrics.polls) == 1 })
	cursor := s.emit("*", "1")
	if p := <-got; !slices.Equal(p.data(), []string{"1"}) || p.Cursor != cursor {
		t.Errorf("page %+v", p)
	}
	if p := s.get("/v1/default/events?wait=0.05&ack="+cursor, alice).page(); len(p.Events) != 0 || p.Cursor != cursor {
		t.Errorf("page %+v", p)
	}
	r := s.get("/v1/default/events", alice, header("Prefer", "respond-async, wait=0.05"))
	if r.is(200).header.Get("Preference-Applied") != "wait=0.05" || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", r.header)
	}
}

func TestNamesInPaths(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{
		"octo-org/octo-repo", "100%", "%2F", "a b", "a+b", "a%2520b", "größe", "日本", "a?b#c", "...", "a;b", "//", "@bob", "x/../y", "%", "\"<>\\", "a&b=c",
	} {
		s.emit(name, `"x"`)
		p := s.get("/v1/default/rooms/" + url.PathEscape(name) + "/events").page()
		if len(p.Events) != 1 || p.Events[0].Room != name {
			t.Errorf("room %q: %+v", name, p)
		}
		client := "/v1/default/clients/" + url.PathEscape(name)
		s.post("/v1/default/ack?client="+url.QueryEscape(name), `{"cursor":"`+p.Cursor+`"}`).is(200)
		if got := s.get(client).is(200).json(); got["client"] != name {
			t.Errorf("client %q: %v", name, got)
		}
	}
	// An unnecessary escape is undone, too, but only once.
	s.emit("plain", "1")
	if p := s.get("/v1/default/rooms/%70l%61in/events").page(); len(p.Events) != 1 {
		t.Errorf("page %+v", p)
	}
}
