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
)

// TestAnEmptyBodyIsNone: some proxies give a request without a body an empty chunked one,
// or end it with an empty DATA frame.
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
			to.call("GET", "/v1/default/rooms", strings.Repeat("x", 1<<20), unknownLength).problem(400, "bad-parameter", "")
			st := to.stream("/v1/default/events?rooms=r&from=earliest", empty)
			st.expect("culvert:hello")
			st.expect("e")
		})
	}
}

// over is the same site reached by another protocol.
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

// TestABodyThatDoesNotComeIsBounded sends the headers of a GET with a chunked body, and
// never says that the body is empty.
func TestABodyThatDoesNotComeIsBounded(t *testing.T) {
	s := siteOf(t, &memory{}, func(o *Options) { o.bodyTimeout = 50 * time.Millisecond })
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
