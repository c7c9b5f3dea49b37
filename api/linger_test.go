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
)

// dial opens a connection to the site that must be done within a minute.
func (s *site) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// TestARefusalIsReadAfterALargeBody is a client that looks for the answer only when it
// has sent all of its 64 MiB, as simple ones do. A reset would take the answer away.
func TestARefusalIsReadAfterALargeBody(t *testing.T) {
	s := newSite(t)
	const size = 64 << 20
	block := []byte(strings.Repeat("x", 1<<20))
	for _, c := range []struct {
		name, header string
		key          string
		status       int
		times        int
	}{
		{"length", fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d", size), testKey, 413, 20},
		{"chunked", "Content-Type: application/json\r\nTransfer-Encoding: chunked", testKey, 413, 20},
		{"bad key", fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d", size), "bad", 401, 3},
		{"other type", "Content-Type: text/plain\r\nTransfer-Encoding: chunked", testKey, 415, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := range c.times {
				conn := s.dial()
				_, err := fmt.Fprintf(conn, "POST /v1/default/emit HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n", c.key, c.header)
				chunked := strings.Contains(c.header, "chunked")
				for range size / len(block) {
					if chunked && err == nil {
						_, err = fmt.Fprintf(conn, "%x\r\n", len(block))
					}
					if err == nil {
						_, err = conn.Write(block)
					}
					if chunked && err == nil {
						_, err = io.WriteString(conn, "\r\n")
					}
				}
				if chunked && err == nil {
					_, err = io.WriteString(conn, "0\r\n\r\n")
				}
				if err != nil {
					t.Fatalf("time %d: sending: %v", i, err)
				}
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil || res.StatusCode != c.status {
					t.Fatalf("time %d: %v %v, want %d", i, res, err, c.status)
				}
				if b, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(b), fmt.Sprintf(`"status":%d`, c.status)) {
					t.Fatalf("time %d: %q %v", i, b, err)
				}
				_ = conn.Close()
			}
		})
	}
}

// TestLingeringIsBounded: nobody is read for ever.
func TestLingeringIsBounded(t *testing.T) {
	s := newSite(t)
	conn := s.dial()
	fmt.Fprintf(conn, "POST /v1/default/emit HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", testKey, 1<<40)
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != 413 {
		t.Fatal(res, err)
	}
	sent := 0
	block := []byte(strings.Repeat("x", 1<<20))
	for ; sent < 2*lingerBytes; sent += len(block) {
		if _, err := conn.Write(block); err != nil {
			return
		}
	}
	t.Errorf("%d MiB were read", sent>>20)
}
