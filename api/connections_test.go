package api

import (
	"io"
	"net/http"
	"testing"

	"github.com/culvertmq/culvert/api/limits"
	"github.com/culvertmq/culvert/api/wire"
)

// connected waits until the handler counts n connections in the namespace default.
func (s *site) connected(n int) {
	s.t.Helper()
	s.takes("default", "", func(now limits.Counts) bool { return now.Connections == n })
}

// TestConnectionsOfAClient: streams, held polls and uploads count together, and a refused one does nothing.
func TestConnectionsOfAClient(t *testing.T) {
	m := &memory{}
	s := siteOf(t, inMemory(m), limited(Limits{ClientConnections: 3}))
	alice := bearerOf(token(t, "alice", "emit:*"))
	stream := s.stream("/v1/default/events", alice)
	stream.expect("culvert:hello")
	polled := make(chan result, 1)
	go func() { polled <- s.get("/v1/default/events?wait=50", alice) }()
	lines, feed := io.Pipe()
	uploaded := make(chan []string, 1)
	go func() {
		uploaded <- s.upload("x", alice, func(r *http.Request) { r.Body, r.ContentLength = lines, -1 })
	}()
	s.connected(3)

	full := func(r result) {
		t.Helper()
		r.problem(429, "too-many-connections", "")
		if r.header.Get("Retry-After") == "" {
			t.Error("the refusal has no Retry-After")
		}
	}
	full(s.get("/v1/default/events", alice))
	full(s.get("/v1/default/events?ack=m3m0:0", alice, header("Accept", "text/event-stream")))
	full(s.get("/v1/default/events?client=alice"))
	full(s.post("/v1/default/emit", `{"event":"e"}`, alice, header("Content-Type", wire.MediaLines)))
	if len(m.acked) > 0 {
		t.Error("a refused stream acknowledged")
	}
	s.get("/v1/default/events?wait=0", alice).is(200)
	s.post("/v1/default/emit", `{"event":"e"}`, alice).is(201)
	s.stream("/v1/default/events?client=bob").expect("culvert:hello")
	s.stream("/v1/default/events?rooms=r").expect("culvert:hello")

	stream.close()
	s.connected(3) // the emit ended the poll: an upload, bob's stream and one without a client are left
	(<-polled).is(200)
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	<-uploaded
	s.connected(2)
	for range 3 {
		s.stream("/v1/default/events", alice).expect("culvert:hello")
	}
	full(s.get("/v1/default/events", alice))
}

// TestAWaitingEmitIsAConnection: a waiting emit counts as a connection, and stores nothing if it is one too
// many.
func TestAWaitingEmitIsAConnection(t *testing.T) {
	s := newSite(t, limited(Limits{ClientConnections: 1}))
	alice := bearerOf(token(t, "alice", "emit:*"))
	stream := s.stream("/v1/default/events", alice)
	stream.expect("culvert:hello")
	const ask = `{"room":"r","event":"e","reply":{"timeout":9,"count":1}}`
	s.post("/v1/default/emit?wait=9", ask, alice).problem(429, "too-many-connections", "")
	if p := s.get("/v1/default/rooms/r/events").page(); len(p.Events) > 0 {
		t.Errorf("the room has %v", p.Events)
	}
	s.post("/v1/default/emit?wait=0", ask, alice).is(201)
	stream.close()
	s.connected(0)
	s.post("/v1/default/emit?wait=0.1", ask, alice).is(201)
}

func TestConnectionsOfANamespace(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}), limited(Limits{NamespaceConnections: 2, ClientConnections: 2}))
	first := s.stream("/v1/default/events?client=a")
	first.expect("culvert:hello")
	s.stream("/v1/default/events?rooms=r").expect("culvert:hello")
	s.get("/v1/default/events?client=b").problem(429, "too-many-connections", "")
	s.get("/v1/default/events?rooms=r").problem(429, "too-many-connections", "")
	s.stream("/v1/other/events?client=a").expect("culvert:hello")
	first.close()
	s.connected(1)
	s.stream("/v1/default/events?client=b").expect("culvert:hello")
}

// TestNobodyIsCountedForEver: nothing is kept in memory for a client without connections.
func TestNobodyIsCountedForEver(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}), limited(Limits{ClientConnections: 1}))
	for range 3 {
		st := s.stream("/v1/default/events?client=a")
		st.expect("culvert:hello")
		st.close()
		s.connected(0)
	}
	s.idle()
}
