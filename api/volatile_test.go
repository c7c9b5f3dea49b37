package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/api/wire"
)

func TestVolatileOverBothTransportsOfTheOtherInstance(t *testing.T) {
	a, b := sites(t)
	stream := b.stream("/v1/default/events?client=alice")
	hello := stream.expect("culvert:hello")
	polled := make(chan result, 1)
	go func() { polled <- b.get("/v1/default/events?client=bob&wait=20") }()
	apitest.Until(t, func() bool { return openSessions(b) == 2 })

	typing := `{"event":"typing","data":{"on":true},"volatile":true,"except":["@me"]}`
	apitest.Until(t, func() bool { // the poll may not be registered yet
		if body := a.post("/v1/default/emit?client=carol", typing).is(http.StatusAccepted).body; body != "{}" {
			t.Errorf("answer %s", body)
		}
		return len(polled) > 0
	})
	f := stream.expect("typing")
	want := `{"room":"*","event":"typing","data":{"on":true},"from":"carol","at":`
	if f.ID != hello.ID || !strings.HasPrefix(f.Data, want) {
		t.Errorf("frame %+v", f)
	}
	p := (<-polled).page()
	if len(p.Events) == 0 || p.Events[0].Offset != 0 || p.Events[0].Event != "typing" || p.Cursor != decode(t, hello.Data)["cursor"] {
		t.Errorf("page %+v", p)
	}
	if h := a.get("/v1/default/rooms/*/events").page(); len(h.Events) != 0 {
		t.Errorf("stored: %+v", h.Events)
	}

	// Batches and lines.
	a.post("/v1/default/emit", `{"events":[{"event":"x","volatile":true},{"event":"y","volatile":true}]}`).is(http.StatusAccepted)
	lines := a.post("/v1/default/emit", `{"event":"stored"}`+"\n"+typing+"\n", header("Content-Type", wire.MediaLines)).is(http.StatusOK)
	if got := strings.Split(strings.TrimSpace(lines.body), "\n"); len(got) != 2 || !strings.Contains(got[0], "offset") || !strings.Contains(got[1], `"field":"except"`) {
		t.Errorf("lines %q", got)
	}
	lines = a.post("/v1/default/emit?client=carol", typing+"\n"+`{"event":"stored"}`, header("Content-Type", wire.MediaLines)).is(http.StatusOK)
	if got := strings.Split(strings.TrimSpace(lines.body), "\n"); len(got) != 2 || got[0] != "{}" || !strings.Contains(got[1], "offset") {
		t.Errorf("lines %q", got)
	}
}

func openSessions(s *site) int {
	s.h.sessions.mu.Lock()
	defer s.h.sessions.mu.Unlock()
	return len(s.h.sessions.open)
}

// A newer token keeps a stream of the other instance open, unless it does not allow what the stream reads.
func TestRenewingATokenKeepsTheStream(t *testing.T) {
	a, b := sites(t)
	short := bearerOf(tokenUntil(t, "alice", time.Now().Add(3*time.Second), "rooms:lobby"))
	kept := b.stream("/v1/default/events", short)
	kept.expect("culvert:hello")
	adHoc := b.stream("/v1/default/events?rooms=lobby", short)
	adHoc.expect("culvert:hello")

	longer := bearerOf(tokenUntil(t, "alice", time.Now().Add(time.Hour), "rooms:other"))
	r := a.call("POST", "/v1/default/token", "", longer).is(http.StatusOK).json()
	if at, err := time.Parse(time.RFC3339, r["expires"].(string)); err != nil || time.Until(at) < 50*time.Minute {
		t.Errorf("expires %v", r)
	}
	if f := adHoc.expect("culvert:reconnect"); decode(t, f.Data)["reason"] != "expired" {
		t.Errorf("reconnect %s", f.Data)
	}
	adHoc.ends()
	// The renewed stream is still open after the other one has ended.
	a.emit("@alice", `"after"`)
	if got := payload(t, kept.expect("e")); got != `"after"` {
		t.Errorf("got %s", got)
	}
}
