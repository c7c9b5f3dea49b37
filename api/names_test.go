package api

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestDotsAreNoNames sends paths unchanged. "." and ".." cannot be names: a proxy that resolves such a path
// asks for something else.
func TestDotsAreNoNames(t *testing.T) {
	s := newSite(t)
	s.call("PUT", "/v1/default/rooms/r/clients/me?client=alice", "").is(200)
	for _, dots := range []string{".", "..", "%2e", "%2E%2e", ".%2e"} {
		for _, route := range []string{
			"PUT /v1/default/rooms/%s/clients/me?client=alice", "DELETE /v1/default/rooms/%s/clients/me?client=alice",
			"GET /v1/default/rooms/%s/clients", "GET /v1/default/rooms/%s/events",
			"PUT /v1/default/rooms/r/clients/%s", "DELETE /v1/default/rooms/r/clients/%s",
			"GET /v1/default/clients/%s", "DELETE /v1/default/clients/%s?client=alice", "POST /v1/default/clients/%s/revoke",
			"GET /v1/default/clients/me?client=%s", "GET /v1/default/events?wait=0&rooms=r,%s",
			"GET /v1/default/rooms?after=%s", "GET /v1/default/rooms/r/clients?after=%s",
			"GET /v1/%s", "DELETE /v1/%s", "GET /v1/%s/rooms",
		} {
			route = fmt.Sprintf(route, dots)
			if status, body := s.raw(route); status != 422 || !strings.Contains(body, `"field":`) {
				t.Errorf("%s: %d %s", route, status, body)
			}
		}
	}
	for _, body := range []string{
		`{"event":"e","room":".."}`, `{"event":"e","rooms":["r","."]}`, `{"event":"e","room":"r","except":[".."]}`, `{"event":"e","key":"."}`,
	} {
		s.post("/v1/default/emit", body).is(422)
	}
	s.post("/v1/default/emit", `{"event":"e"}`, header("Idempotency-Key", "..")).problem(422, "invalid", "key")
	s.post("/v1/default/emit", `{"event":"..","room":"@.."}`).is(201) // "@.." has no meaning in a path
	// None of these requests changed anything.
	if r := s.get("/v1/default/clients/alice").is(200); !strings.Contains(r.body, `"@alice","r"]`) {
		t.Errorf("alice is %s", r.body)
	}
}

// TestPathsAreNotCleaned: a path with ".." or "//" is not served as the path that it resolves to.
func TestPathsAreNotCleaned(t *testing.T) {
	s := newSite(t)
	s.call("PUT", "/v1/default/rooms/r/clients/me?client=alice", "").is(200)
	for _, route := range []string{
		"DELETE /v1/default/rooms/../clients/alice", "DELETE /v1/default/rooms/r/../../clients/alice",
		"DELETE /v1/default/rooms/%2e%2e/clients/../../clients/alice", "DELETE /v1/default//clients/alice",
		"DELETE /demo/../v1/default/clients/alice", "GET /v1/../livez", "GET //livez", "GET /v1/default/rooms/../clients/alice",
		"DELETE /v1/default/clients/alice/", "DELETE /v1/default/clients/alice/.", "DELETE /v1/default/clients/bob%2f..%2falice",
	} {
		if status, body := s.raw(route); status != 404 && status != 422 && status != 405 {
			t.Errorf("%s: %d %s", route, status, body)
		}
	}
	s.get("/v1/default/clients/alice").is(200)
}

// raw sends a request line unchanged, which the client of net/http does not.
func (s *site) raw(route string) (status int, body string) {
	s.t.Helper()
	method, path, _ := strings.Cut(route, " ")
	conn := s.dial()
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, path, testKey)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.t.Fatalf("%s: %v", route, err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatalf("%s: %v", route, err)
	}
	return res.StatusCode, string(b)
}
