package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/internal/tool"
)

// webhook is one line of the file: an emit.
type webhook struct {
	Room, Event string
	Data        json.RawMessage
}

// TestWebhooks sends real payloads by NDJSON and by single emits, and reads them by stream, by long poll on
// another instance, and as history. All must be equal as JSON values.
func TestWebhooks(t *testing.T) {
	file, err := os.ReadFile(filepath.Join("..", "..", "shared", "data", "github-webhooks.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		tool.Missing(t, "../shared/data/github-webhooks.jsonl")
	} else if err != nil {
		t.Fatal(err)
	}
	var want []webhook
	rooms := map[string]bool{}
	for line := range bytes.Lines(file) {
		var w webhook
		if err := json.Unmarshal(line, &w); err != nil {
			t.Fatal(err)
		}
		want = append(want, w)
		rooms[w.Room] = true
	}
	var query strings.Builder
	for r := range rooms {
		query.WriteString("&rooms=" + strings.NewReplacer("/", "%2F", " ", "%20").Replace(r))
	}
	want = append(want, want...)

	dsn := pgtest.Database(t)
	one, two := siteOf(t, ownersOf(openQueue(t, dsn))), siteOf(t, ownersOf(openQueue(t, dsn)))
	start := one.get("/v1/default/events?client=c&wait=0").page().Cursor
	st := one.stream("/v1/default/events?after=" + start + query.String())
	st.expect("culvert:hello")
	for i, line := range one.upload(string(file)) {
		if !strings.HasPrefix(line, `{"offset":`) {
			t.Fatalf("line %d: %s", i+1, line)
		}
	}

	check := func(i int, how, room, event string, data []byte) {
		t.Helper()
		if i >= len(want) {
			t.Fatalf("%s: more than was sent", how)
		}
		if w := want[i]; w.Room != room || w.Event != event || !apitest.SameJSON(w.Data, data) {
			t.Fatalf("%s: event %d is %s in %s, want %s in %s; or its data differ", how, i, event, room, w.Event, w.Room)
		}
	}
	read := func(i int) {
		t.Helper()
		f := st.next()
		var e webhook
		if err := json.Unmarshal([]byte(f.Data), &e); err != nil {
			t.Fatal(err)
		}
		check(i, "stream", e.Room, f.Event, e.Data)
	}
	half := len(want) / 2
	for i := range half {
		read(i)
	}
	// One by one: a client that does not read during all of these emits would be cut off.
	for line := range bytes.Lines(file) {
		one.post("/v1/default/emit", string(line)).is(201)
		read(half)
		half++
	}
	n := 0
	for at, more := start, true; more; {
		p := two.get(fmt.Sprintf("/v1/default/events?wait=5&limit=50&after=%s%s", at, query.String())).page()
		for _, e := range p.Events {
			check(n, "poll", e.Room, e.Event, e.Data)
			n++
		}
		at, more = p.Cursor, n < len(want)
	}
	byRoom := map[string]int{}
	for _, w := range want {
		byRoom[w.Room]++
	}
	for room, count := range byRoom {
		path, got := "/v1/default/rooms/"+strings.ReplaceAll(room, "/", "%2F")+"/events?limit=200", 0
		for at, more := "", true; more; { // pages are bounded in bytes, too
			p := two.get(path + at).page()
			got, at, more = got+len(p.Events), "&after="+p.Cursor, p.More
		}
		if got != count {
			t.Errorf("history of %s has %d events, want %d", room, got, count)
		}
	}
}
