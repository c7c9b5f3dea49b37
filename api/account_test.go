package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/api/limits"
	"github.com/culvertmq/culvert/event"
)

// takes waits until the counts satisfy is: those of a client; without a client, those of its namespace; without
// both, those of the instance.
func (s *site) takes(ns, client string, is func(now limits.Counts) bool) {
	s.t.Helper()
	var space event.Namespace
	var who event.Client
	if ns != "" {
		space = parse(s.t, event.ParseNamespace, ns)
	}
	if client != "" {
		who = parse(s.t, event.ParseClient, client)
	}
	apitest.Until(s.t, func() bool { return is(s.h.limits.Counts(space, who)) })
}

// oneRequest reports whether the counts are those of one request under way.
func oneRequest(now limits.Counts) bool { return now.Requests == 1 }

// idle waits until nothing is counted for anybody.
func (s *site) idle() {
	s.t.Helper()
	s.takes("", "", func(now limits.Counts) bool { return now == limits.Counts{} })
}

// begin sends all of a POST but the last bytes of its body.
func (s *site) begin(path, token, body string, without int) net.Conn {
	s.t.Helper()
	return s.beginAs("POST", path, token, body, without)
}

func (s *site) beginAs(method, path, token, body string, without int) net.Conn {
	s.t.Helper()
	c := s.dial()
	if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		method, path, token, len(body), body[:len(body)-without]); err != nil {
		s.t.Fatal(err)
	}
	return c
}

func statusOf(t *testing.T, c net.Conn) int {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}

const smallEmit = `{"event":"e"}`

// TestRequestsUnderWay: a client, a namespace and an instance each have a limit of requests under way.
func TestRequestsUnderWay(t *testing.T) {
	for _, c := range []struct {
		name           string
		limits         Limits
		token          string // sends the one request under way; a second one is too many
		refused, taken string // whose second request is refused, and whose is accepted
		status         int
		slug           string
	}{
		{"client", Limits{ClientRequests: 1}, "alice", "alice", "bob", 429, "too-many-requests"},
		{"key", Limits{NamespaceRequests: 2}, testKey, testKey, "bob", 429, "too-many-requests"},
		{"namespace", Limits{NamespaceRequests: 1}, "alice", "bob", "", 429, "too-many-requests"},
		{"instance", Limits{Requests: 1}, "alice", "bob", "", 503, "overloaded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := siteOf(t, inMemory(&memory{}), limited(c.limits))
			tokens := map[string]string{"alice": token(t, "alice", "emit:*"), "bob": token(t, "bob", "emit:*"), testKey: testKey}
			open := s.begin("/v1/default/emit", tokens[c.token], smallEmit, 1)
			s.takes("", "", oneRequest)
			r := s.post("/v1/default/emit", smallEmit, bearerOf(tokens[c.refused])).problem(c.status, c.slug, "")
			if r.header.Get("Retry-After") == "" {
				t.Error("the refusal has no Retry-After")
			}
			if c.taken != "" {
				s.post("/v1/default/emit", smallEmit, bearerOf(tokens[c.taken])).is(201)
			}
			if _, err := io.WriteString(open, "}"); err != nil {
				t.Fatal(err)
			}
			if status := statusOf(t, open); status != 201 {
				t.Errorf("the request under way was answered with %d", status)
			}
			s.idle()
			s.post("/v1/default/emit", smallEmit, bearerOf(tokens[c.refused])).is(201)
			left := s.begin("/v1/default/emit", tokens[c.token], smallEmit, 1)
			s.takes("", "", oneRequest)
			_ = left.Close()
			s.idle()
		})
	}
}

// TestConnectionsAreNotCountedTwice: streams have limits of their own and do not count as requests.
func TestConnectionsAreNotCountedTwice(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}), limited(Limits{ClientRequests: 1, ClientConnections: 3, Connections: 3}))
	alice := bearerOf(token(t, "alice", "emit:*"))
	for range 3 {
		s.stream("/v1/default/events", alice).expect("culvert:hello")
	}
	s.post("/v1/default/emit", smallEmit, alice).is(201)
	s.get("/v1/default/events?client=bob").problem(503, "overloaded", "")
}

// TestBodiesAreCharged: bodies are charged as they arrive, whatever length they announce, until their requests
// end.
func TestBodiesAreCharged(t *testing.T) {
	for _, c := range []struct {
		name, slug string
		limits     Limits
		status     int
	}{
		{"client", "too-many-requests", Limits{ClientBytes: 1 << 20}, 429},
		{"namespace", "too-many-requests", Limits{NamespaceBytes: 1 << 20}, 429},
		{"instance", "overloaded", Limits{Bytes: 1 << 20}, 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := siteOf(t, inMemory(&memory{}), limited(c.limits))
			alice := token(t, "alice", "emit:*")
			large := `{"event":"e","data":"` + strings.Repeat("x", 200<<10) + `"}`
			announced := s.begin("/v1/default/emit", alice, large, len(large)-1)
			first, second := s.begin("/v1/default/emit", alice, large, 1), s.begin("/v1/default/emit", alice, large, 1)
			s.takes("", "", func(now limits.Counts) bool { return now.Bytes >= 800<<10 })
			s.post("/v1/default/emit", large, bearerOf(alice)).problem(c.status, c.slug, "")
			s.post("/v1/default/emit", smallEmit, bearerOf(alice)).is(201)
			_ = first.Close()
			s.takes("", "", func(now limits.Counts) bool { return now.Bytes < 500<<10 })
			s.post("/v1/default/emit", large, bearerOf(alice), unknownLength).is(201)
			_, _ = second.Close(), announced.Close()
			s.idle()
		})
	}
}

// TestPagesAreCharged: a page has as many events as there is memory for, and says that there are more. If the
// client does not read it, it holds its memory until its write ends.
func TestPagesAreCharged(t *testing.T) {
	s := newSite(t, limited(Limits{ClientBytes: 1 << 20}), func(o *Options) { o.WriteTimeout = 300 * time.Millisecond })
	alice := token(t, "alice", "rooms:*")
	data := `"` + strings.Repeat("x", 200<<10) + `"`
	for range 40 {
		s.emit("r", data)
	}
	n, after, pages := 0, "", 0
	for more := true; more; pages++ {
		p := s.get("/v1/default/rooms/r/events?limit=1000"+after, bearerOf(alice)).page()
		if p.More && len(p.Events) != 2 {
			t.Errorf("%d events of 400 KiB each are in 1 MiB", len(p.Events))
		}
		n, more, after = n+len(p.Events), p.More, "&after="+p.Cursor
	}
	if n != 40 || pages < 20 {
		t.Errorf("%d events in %d pages", n, pages)
	}
	if p := s.get("/v1/default/events?rooms=r&from=earliest&limit=1000", bearerOf(token(t, "bob", "rooms:*"))).page(); len(p.Events) < 2 {
		t.Errorf("a poll has %d events", len(p.Events))
	}

	c := s.dial()
	if err := c.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	held := 0
	for range 40 { // pipelined, until all buffers on the way are full
		fmt.Fprintf(c, "GET /v1/default/rooms/r/events?limit=1000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", alice)
	}
	s.takes("default", "alice", func(now limits.Counts) bool {
		held = max(held, now.Bytes)
		return held > 800<<10
	})
	s.idle() // the client did not read, so the write has timed out
}

// TestAnUploadNeedsLittle: an upload is charged only for the lines that wait, whatever its length.
func TestAnUploadNeedsLittle(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}), limited(Limits{ClientBytes: 4 << 20}))
	line := `{"event":"e","data":"` + strings.Repeat("x", 10<<10) + "\"}\n"
	results := s.upload(strings.Repeat(line, 2000), bearerOf(token(t, "alice", "emit:*")))
	if len(results) != 2000 || strings.Contains(results[1999], "problem") {
		t.Errorf("%d results, the last is %s", len(results), results[len(results)-1])
	}
	s.idle()
}

// TestAStreamWaitsForMemory: without memory a stream neither ends nor loses an event.
func TestAStreamWaitsForMemory(t *testing.T) {
	s := newSite(t, limited(Limits{ClientBytes: 1 << 20}))
	alice := token(t, "alice", "rooms:*", "emit:*")
	data := `"` + strings.Repeat("x", 200<<10) + `"`
	large := `{"event":"e","data":` + data + `}`
	first := s.emit("r", data)
	for range 400 { // more than the tail keeps
		s.emit("r", data)
	}
	one, two := s.begin("/v1/default/emit", alice, large, 1), s.begin("/v1/default/emit", alice, large, 1)
	s.takes("default", "alice", func(now limits.Counts) bool { return now.Bytes >= 800<<10 })
	s.get("/v1/default/events?rooms=r&wait=0&after="+first, bearerOf(alice)).problem(429, "too-many-requests", "")
	st := s.stream("/v1/default/events?rooms=r&after="+first, bearerOf(alice))
	st.expect("culvert:hello")
	if f := st.frame(); f.Event != "culvert:heartbeat" {
		t.Fatalf("%.100v", f)
	}
	_, _ = one.Close(), two.Close()
	for range 400 {
		st.expect("e")
	}
	st.close()
	s.idle()
}
