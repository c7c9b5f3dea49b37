package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/api/wire"
)

// TestAnEmptyBodyIsNone: some proxies give a request without a body an empty chunked body, or end it with an
// empty DATA frame. Both are accepted.
func TestAnEmptyBodyIsNone(t *testing.T) {
	s := newSite(t)
	s.emit("r", "1")
	s.call("PUT", "/v1/default/rooms/r/clients/bob", "").is(200)
	empty := func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("")), -1 }
	for _, proto := range []string{"HTTP/1.1", "h2c", "h2"} {
		t.Run(proto, func(t *testing.T) {
			to := s.over(t, proto)
			if proto == "HTTP/1.1" {
				raw := s.dial()
				get(raw, "/v1/default/events?client=bob&wait=0", "0\r\n\r\n")
				if res, err := http.ReadResponse(bufio.NewReader(raw), nil); err != nil || res.StatusCode != 200 {
					t.Errorf("by hand: %v %v", res, err)
				}
			}
			for _, route := range []string{
				"GET /v1", "GET /v1/default", "GET /v1/default/events?client=bob&wait=0", "GET /v1/default/rooms",
				"GET /v1/default/rooms/r/events", "GET /v1/default/rooms/r/clients", "GET /v1/default/clients/bob",
				"GET /livez", "GET /readyz", "PUT /v1/default/rooms/r/clients/eve", "DELETE /v1/default/rooms/r/clients/eve",
				"POST /v1/default/clients/eve/revoke", "PUT /v1/made-for-" + strings.ToLower(strings.NewReplacer("/", "", ".", "").Replace(proto)),
			} {
				method, path, _ := strings.Cut(route, " ")
				if r := to.call(method, path, "", empty); r.status/100 != 2 {
					t.Errorf("%s: %d %s", route, r.status, r.body)
				}
			}
			to.call("GET", "/v1/default/events?client=bob&wait=0", "x", unknownLength).problem(400, "bad-parameter", "")
			to.call("GET", "/v1/default/clients/bob", "x").problem(400, "bad-parameter", "")
			to.call("GET", "/v1/default/rooms", strings.Repeat("x", wire.MaxBody), unknownLength).problem(400, "bad-parameter", "")
			st := to.stream("/v1/default/events?rooms=r&from=earliest", empty)
			st.expect("culvert:hello")
			st.expect("e")
		})
	}
}

// TestEveryRouteKnowsItsBody tests all routes. One with a body refuses unknown fields; one without refuses any
// body with content, since the sender meant something by it.
func TestEveryRouteKnowsItsBody(t *testing.T) {
	s := newSite(t)
	alice := bearerOf(token(t, "alice", "rooms:*", "emit:*"))
	// The status when the body is not refused. A new route must be added here.
	statuses := map[string]int{
		"GET /v1": 200, "GET /v1/:ns": 200, "PUT /v1/:ns": 201, "PATCH /v1/:ns": 200, "DELETE /v1/:ns": 204,
		"POST /v1/:ns/emit": 415, "POST /v1/:ns/reply": 415, "POST /v1/:ns/ack": 415, "POST /v1/:ns/token": 200,
		"GET /v1/:ns/events": 200, "GET /v1/:ns/rooms": 200, "GET /v1/:ns/rooms/:room/events": 200,
		"GET /v1/:ns/rooms/:room/clients": 200, "PUT /v1/:ns/rooms/:room/clients/:client": 200,
		"DELETE /v1/:ns/rooms/:room/clients/:client": 200, "GET /v1/:ns/clients/:client": 200,
		"POST /v1/:ns/clients/:client/revoke": 204, "DELETE /v1/:ns/clients/:client": 204,
	}
	n := 0
	for _, r := range s.h.echo.Routes() {
		if !strings.HasPrefix(r.Path, "/v1") {
			continue
		}
		route := r.Method + " " + r.Path
		status, ok := statuses[route]
		if !ok {
			t.Errorf("%s has no row here", route)
		}
		delete(statuses, route)
		auth := bearerOf(testKey)
		if r.Path == "/v1/:ns/token" {
			auth = alice
		}
		send := func(body string, options ...option) result {
			n++ // a new namespace each time
			ns := "default"
			if r.Path == "/v1/:ns" {
				ns = fmt.Sprint("n", n)
				if r.Method != http.MethodPut {
					s.call("PUT", "/v1/"+ns, "").is(201)
				}
			}
			path := strings.NewReplacer(":ns", ns, ":room", "r", ":client", "bob").Replace(r.Path)
			if strings.Contains(r.Path, ":client") {
				s.get("/v1/default/events?client=bob&wait=0").is(200) // it may have been forgotten
			}
			switch r.Path {
			case eventsRoute:
				path += "?client=alice&wait=0"
			case "/v1/:ns/ack":
				path += "?client=alice"
			}
			return s.call(r.Method, path, body, append(options, auth)...)
		}
		plain := header("Content-Type", "")
		for name, framing := range map[string]option{"a length": func(*http.Request) {}, "chunks": unknownLength} {
			if got := send("", framing); got.status != status {
				t.Errorf("%s with an empty body of %s: %d %s, want %d", route, name, got.status, got.body, status)
			}
			got := send(`{"nobody-knows":1}`, framing)
			field := "nobody-knows"
			if r.Method == http.MethodGet {
				field = ""
			}
			if v := got.json(); got.status != 400 || field != "" && v["field"] != field {
				t.Errorf("%s with an unknown field in %s: %d %s", route, name, got.status, got.body)
			}
			if bodyRoutes[route] {
				continue
			}
			for _, body := range []string{"x", "null", "[]", `""`, "{", "{}x", "{} {}", strings.Repeat(" ", 100) + "{}", strings.Repeat("x", wire.MaxBody), "\x1f\x8b\x08"} {
				if got := send(body, framing, plain); got.status != 400 || !strings.Contains(got.body, "body") {
					t.Errorf("%s with %.10q of %d bytes in %s: %d %s", route, body, len(body), name, got.status, got.body)
				}
			}
			want := status
			if r.Method == http.MethodGet {
				want = 400
			}
			for _, body := range []string{"{}", " {\n}\r\n"} {
				if got := send(body, framing, plain); got.status != want {
					t.Errorf("%s with %q in %s: %d %s, want %d", route, body, name, got.status, got.body, want)
				}
			}
		}
	}
	for route := range statuses {
		t.Errorf("%s is not a route", route)
	}
	for route := range bodyRoutes {
		if _, path, _ := strings.Cut(route, " "); !strings.HasPrefix(path, namespaceRoute) {
			t.Errorf("%s is not a route", route)
		}
	}
}

// over returns the same site, reached with another protocol.
func (s *site) over(t *testing.T, proto string) *site {
	to := *s
	to.t = t
	transport := &http.Transport{Protocols: new(http.Protocols)}
	switch proto {
	case "h2c":
		transport.Protocols.SetUnencryptedHTTP2(true)
	case "h2":
		server := httptest.NewUnstartedServer(s.h)
		s.h.ConfigureServer(server.Config)
		server.EnableHTTP2 = true
		server.StartTLS()
		t.Cleanup(server.Close)
		transport.Protocols.SetHTTP2(true)
		transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig
		to.url = server.URL
	default:
		transport.Protocols.SetHTTP1(true)
	}
	t.Cleanup(transport.CloseIdleConnections)
	to.client = &http.Client{Transport: transport}
	return &to
}

// TestABodyThatDoesNotComeIsBounded sends the headers of a GET with a chunked body that never ends.
func TestABodyThatDoesNotComeIsBounded(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}), func(o *Options) { o.bodyTimeout = 50 * time.Millisecond })
	for body, status := range map[string]int{"": 408, "0\r\n": 400, "zz\r\n": 400} {
		conn := s.dial()
		get(conn, "/v1/default/events?client=c&wait=0", body)
		if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != status {
			t.Errorf("%q: %v %v, want %d", body, res, err, status)
		}
	}
}

func get(conn net.Conn, path, body string) {
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\n%s", path, testKey, body)
}
