package api

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// The limits of one token or API key do not grow with the number of its namespaces: it cannot take the whole
// instance.
func TestOneCallerOfManyNamespacesLeavesRoomForOthers(t *testing.T) {
	const spaces = 40
	rights := []string{"rooms:*", "emit:*"}
	for i := range spaces {
		rights = append(rights, fmt.Sprintf("ns:evil-%d", i))
	}
	mallory := token(t, "mallory", rights...)
	large := `{"event":"e","data":"` + strings.Repeat("x", 200<<10) + `"}`
	limits := Limits{
		Requests: 64, NamespaceRequests: 32, ClientRequests: 8,
		Bytes: 32 << 20, NamespaceBytes: 16 << 20, ClientBytes: 4 << 20,
		Connections: 64, NamespaceConnections: 32, ClientConnections: 8,
	}
	requestsOnly, bytesOnly := limits, limits
	requestsOnly.Bytes, requestsOnly.NamespaceBytes, requestsOnly.ClientBytes = 0, 0, 0
	bytesOnly.Requests, bytesOnly.NamespaceRequests, bytesOnly.ClientRequests = 0, 0, 0
	for _, c := range []struct {
		name   string
		by     string
		limits Limits
		begin  func(s *site, space string, by string) net.Conn
		victim func(s *site, bob option) int
	}{
		{"requests of a token", mallory, requestsOnly, holdEmit(smallEmit), emitOf(smallEmit)},
		{"requests of a key", testKey, requestsOnly, holdEmit(smallEmit), emitOf(smallEmit)},
		{"memory of a token", mallory, bytesOnly, holdEmit(large), emitOf(large)},
		{"memory of a key", testKey, bytesOnly, holdEmit(large), emitOf(large)},
		{"connections of a token", mallory, limits, holdPoll, pollOf},
		{"connections of a key", testKey, limits, holdPoll, pollOf},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := siteOf(t, inMemory(&memory{}), limited(c.limits))
			bob := bearerOf(token(t, "bob", "rooms:*", "emit:*"))
			refused := 0
			for i := range 4 * spaces {
				conn := c.begin(s, fmt.Sprintf("evil-%d", i%spaces), c.by)
				if answersSoon(t, conn) {
					refused++
				}
			}
			if refused == 0 {
				t.Error("the attacker was never refused")
			}
			if status := c.victim(s, bob); status >= 400 {
				t.Errorf("a client of another namespace gets %d", status)
			}
		})
	}
}

func holdEmit(body string) func(*site, string, string) net.Conn {
	return func(s *site, space, by string) net.Conn {
		s.t.Helper()
		c := s.dial()
		// The body is so long that the server answers a refused request before it has arrived.
		if _, err := fmt.Fprintf(c, "POST /v1/%s/emit HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n%s",
			space, by, body[:len(body)-1]); err != nil {
			s.t.Fatal(err)
		}
		return c
	}
}

func emitOf(body string) func(*site, option) int {
	return func(s *site, bob option) int { return s.post("/v1/default/emit", body, bob).status }
}

func holdPoll(s *site, space, by string) net.Conn {
	s.t.Helper()
	c := s.dial()
	if _, err := fmt.Fprintf(c, "GET /v1/%s/events?rooms=r&wait=30 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", space, by); err != nil {
		s.t.Fatal(err)
	}
	return c
}

func pollOf(s *site, bob option) int {
	return s.get("/v1/default/events?rooms=r&wait=1", bob).status
}

// answersSoon reports whether an answer arrives within a moment; a request that is accepted is held.
func answersSoon(t *testing.T, c net.Conn) bool {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	return err == nil
}
