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

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// upload1 sends the headers of an upload over HTTP/1.1, and a part of its body.
func (s *site) upload1(length, body string) (net.Conn, *bufio.Reader) {
	s.t.Helper()
	conn := s.dial()
	if _, err := fmt.Fprintf(conn, "POST /v1/default/emit HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\n%s\r\n\r\n%s",
		testKey, wire.MediaLines, length, body); err != nil {
		s.t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

func chunkOf(text string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(text), text) }

// nextRequest is in the rest of another request's body, where the server must not take it for a request.
const nextRequest = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"

const (
	chunkedBody = "Transfer-Encoding: chunked"
	twoLines    = "{\"event\":\"e\",\"room\":\"r\"}\n\n{\"event\":\"e\",\"room\":\"r\"}\n"
)

// TestABrokenUploadIsTold: the lines that arrived are answered, and a last result line says that the body is
// incomplete. The connection is closed: the rest is not read as a request.
func TestABrokenUploadIsTold(t *testing.T) {
	s := newSite(t)
	for name, c := range map[string]struct {
		length, body string
		close        bool // the client closes its side
	}{
		"no chunk":               {chunkedBody, chunkOf(twoLines+"{\"ev") + "zz\r\n" + nextRequest, false},
		"no chunk, more to come": {chunkedBody, chunkOf(twoLines) + "zz\r\n" + strings.Repeat(nextRequest, 50_000), false},
		"a chunk without end":    {chunkedBody, strings.TrimSuffix(chunkOf(twoLines), "\r\n") + "xx" + nextRequest, false},
		"a chunk too large":      {chunkedBody, chunkOf(twoLines) + "fffffffffffffffff\r\n" + nextRequest, false},
		"no last chunk":          {chunkedBody, chunkOf(twoLines + "{\"ev"), true},
		"half a chunk":           {chunkedBody, "fff\r\n" + twoLines + "{\"event\":\"e\"}", true},
		"less than the length":   {"Content-Length: 1000", twoLines + "{\"event\":\"e\"}", true},
		"lines that end there":   {"Content-Length: 1000", twoLines, true},
	} {
		t.Run(name, func(t *testing.T) {
			conn, r := s.upload1(c.length, c.body)
			if c.close {
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			res, err := http.ReadResponse(r, nil)
			if err != nil || res.StatusCode != http.StatusOK {
				t.Fatal(res, err)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatalf("%v after %q", err, body)
			}
			checkBroken(t, string(body))
			if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
				t.Errorf("after the answer: %q %v", rest, err)
			}
		})
	}
	t.Run("HTTP/2, less than the length", func(t *testing.T) {
		st := s.post2(t, "/v1/default/emit", wire.MediaLines, testKey, "1000")
		st.data(endStream, twoLines+"{\"event\":\"e\"}")
		st.read("")
		checkBroken(t, st.got)
	})
	if p := s.get("/v1/default/rooms/*/events").page(); len(p.Events) != 0 {
		t.Errorf("half a line was stored: %v", p.Events)
	}
}

// checkBroken checks the answer to an upload with two lines, number 1 and 3, and a broken rest.
func checkBroken(t *testing.T, body string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
	checkLines(t, lines)
	if len(lines) != 3 || !strings.Contains(lines[1], `"offset"`) {
		t.Fatalf("answered %q", lines)
	}
	if v := decode(t, lines[2]); v["type"] != "/problems/incomplete-body" || fmt.Sprintf("%v %v", v["status"], v["line"]) != "400 4" {
		t.Errorf("the last line is %s", lines[2])
	}
}

// TestARefusedUploadIsNoRequestAfterwards: what a client sends of an upload after the server has given it up is
// not read as its next request.
func TestARefusedUploadIsNoRequestAfterwards(t *testing.T) {
	s := siteOf(t, inMemory(&memory{appendErr: event.ErrUnavailable}))
	for name, length := range map[string]string{"chunked": chunkedBody, "length": "Content-Length: 1000000"} {
		t.Run(name, func(t *testing.T) {
			body := twoLines
			if length == chunkedBody {
				body = chunkOf(body)
			}
			conn, r := s.upload1(length, body)
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(body), "unavailable") {
				t.Fatalf("%q %v", body, err)
			}
			_, _ = io.WriteString(conn, nextRequest) // the server may be gone
			if rest, _ := io.ReadAll(r); len(rest) > 0 {
				t.Errorf("after the answer: %q", rest)
			}
		})
	}
}

// TestTheLastWordOfAnUploadIsReadable: the client is still sending when the server ends the answer, and sends
// much more before it reads.
func TestTheLastWordOfAnUploadIsReadable(t *testing.T) {
	for name, c := range map[string]struct {
		store   *memory
		limits  Limits
		life    time.Duration
		prepare func(h *Handler)
		slug    string
	}{
		"unavailable": {store: &memory{appendErr: event.ErrUnavailable}, slug: "unavailable"},
		"rate":        {store: &memory{}, limits: Limits{ClientRate: 0.001, Burst: time.Second}, slug: "rate-limited"},
		"expiry":      {store: &memory{}, life: 3 * time.Second, slug: "unauthorized"},
		"drain":       {store: &memory{}, prepare: (*Handler).Drain, slug: "draining"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := siteOf(t, inMemory(c.store), func(o *Options) { o.Limits = &c.limits })
			life := time.Hour
			if c.life > 0 {
				life = c.life
			}
			auth := tokenUntil(t, "c", time.Now().Add(life), "emit:*")
			st := s.post2(t, "/v1/default/emit", wire.MediaLines, auth, "")
			st.data(0, "{\"event\":\"e\"}\n{\"event\":\"e\"}\n")
			if c.prepare != nil {
				st.read("\n")
				c.prepare(s.h)
			}
			st.read("/problems/" + c.slug)
			st.ping()
			for range 3 {
				st.data(0, strings.Repeat("{\"event\":\"e\"}\n", 1000))
			}
			st.data(endStream, "")
			st.read("")
		})
	}
}
