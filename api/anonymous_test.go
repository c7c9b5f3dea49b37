package api

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/api/internal/apitest"
)

// hungUp waits until the server has closed a connection, and returns what it answered. With trickle it sends a
// byte from time to time.
func hungUp(t *testing.T, c net.Conn, trickle bool) string {
	t.Helper()
	var answer strings.Builder
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if trickle {
			if _, err := c.Write([]byte{'x'}); err != nil {
				return answer.String()
			}
		}
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := io.Copy(&answer, c); !errors.Is(err, os.ErrDeadlineExceeded) {
			return answer.String()
		}
	}
	t.Errorf("the connection is still open after 10 s; the server answered %.300q", answer.String())
	return ""
}

// TestEveryBodyHasItsTime: bodies have a time limit on every route, known or unknown, with credentials or
// without.
func TestEveryBodyHasItsTime(t *testing.T) {
	demo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	s := siteOf(t, inMemory(&memory{}), func(o *Options) {
		o.bodyTimeout = 200 * time.Millisecond
		o.Demo = demo
		o.CORSOrigins = []string{"https://app.example"}
	})
	for _, key := range []string{testKey, "wrong"} {
		for _, route := range []string{
			"GET /livez", "GET /readyz", "GET /openapi.yaml", "GET /problems/invalid", "GET /no/such/route", "POST /livez",
			"OPTIONS /v1/default/emit", "OPTIONS *", "POST /demo/token", "GET /demo/", "POST /v1/default/emit",
			"PUT /v1/default/emit", "GET /v1/default/no/such", "GET /v1", "PUT /v1/default/rooms/r/clients/c", "GET /v1/default/events?client=c",
		} {
			for _, framing := range []string{"Content-Length: 1000", "Content-Length: 1000000", "Transfer-Encoding: chunked"} {
				t.Run(key+" "+route+" "+framing, func(t *testing.T) {
					t.Parallel()
					c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: POST\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n%s\r\n\r\n", route, key, framing)
					if framing == "Transfer-Encoding: chunked" {
						_, _ = io.WriteString(c, "fffff\r\n")
					}
					hungUp(t, c, true)
				})
			}
		}
	}
}

// TestEveryAnswerHasItsTime: a client that does not read is cut off, whoever writes the answer.
func TestEveryAnswerHasItsTime(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}), func(o *Options) {
		o.WriteTimeout = 200 * time.Millisecond
		o.Demo = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) })
	})
	for _, path := range []string{"/openapi.yaml", "/demo/"} {
		t.Run(path, func(t *testing.T) {
			c := s.dial()
			request := []byte(strings.Repeat("GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n", 100))
			for {
				if err := c.SetWriteDeadline(time.Now().Add(20 * time.Second)); err != nil {
					t.Fatal(err)
				}
				_, err := c.Write(request)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal("the server waits for a client that does not read")
				}
				if err != nil {
					return // closed
				}
			}
		})
	}
}

// TestEveryAnswerOverHTTP2HasItsTime: if a client does not let the server send, its stream is reset, with
// credentials or without.
func TestEveryAnswerOverHTTP2HasItsTime(t *testing.T) {
	const headers, reset, settings = 1, 3, 4 // types of frames
	const endStream, endHeaders = 1, 4       // flags
	s := siteOf(t, inMemory(&memory{}), func(o *Options) { o.WriteTimeout = 200 * time.Millisecond })
	for _, path := range []string{"/openapi.yaml", "/no/such/route", "/v1/default/rooms/r/events"} {
		t.Run(path, func(t *testing.T) {
			conn := s.dial()
			var b []byte
			frame := func(kind, flags byte, stream uint32, payload string) {
				b = append(b, 0, byte(len(payload)>>8), byte(len(payload)), kind, flags) //nolint:gosec // payloads here are short
				b = append(binary.BigEndian.AppendUint32(b, stream), payload...)
			}
			text := func(v string) string { return string(rune(len(v))) + v } //nolint:gosec // so are texts
			b = append(b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"...)
			frame(settings, 0, 0, "\x00\x04\x00\x00\x00\x00") // SETTINGS_INITIAL_WINDOW_SIZE is 0
			// Fields of the static table (RFC 7541, appendix A): GET, http, :authority, :path, authorization.
			frame(headers, endStream|endHeaders, 1, "\x82\x86\x01"+text("x")+"\x04"+text(path)+"\x0f\x08"+text("Bearer "+testKey))
			if _, err := conn.Write(b); err != nil {
				t.Fatal(err)
			}
			for r := bufio.NewReader(conn); ; {
				var head [9]byte
				if _, err := io.ReadFull(r, head[:]); err != nil {
					t.Fatalf("the server did not reset the stream: %v", err)
				}
				if _, err := r.Discard(int(head[0])<<16 | int(head[1])<<8 | int(head[2])); err != nil {
					t.Fatal(err)
				}
				if head[3] == reset {
					return
				}
			}
		})
	}
}

// TestTheOldestOfTheAnonymousIsCutOff: the oldest request without credentials is cut off, and no other is
// refused.
func TestTheOldestOfTheAnonymousIsCutOff(t *testing.T) {
	for name, l := range map[string]Limits{"address": {AnonymousAddress: 3}, "all": {Anonymous: 3}} {
		t.Run(name, func(t *testing.T) {
			s := siteOf(t, inMemory(&memory{}), limited(l))
			begin := func(key string) net.Conn { return s.begin("/v1/default/emit", key, strings.Repeat("x", 1000), 900) }
			oldest := begin("wrong")
			s.anonymous(1)
			begin("wrong")
			known := begin(testKey)
			s.takes("", "", oneRequest)
			begin("wrong")
			s.anonymous(3)
			for range 20 {
				s.get("/livez").is(200)
				s.get("/no/such/route", bearerOf("wrong")).is(404)
			}
			hungUp(t, oldest, false)
			s.anonymous(2)
			s.takes("", "", oneRequest)
			_ = known.Close()
		})
	}
}

// anonymous waits until the server counts n requests without credentials.
func (s *site) anonymous(n int) {
	s.t.Helper()
	apitest.Until(s.t, func() bool {
		now, _, _ := s.h.visits.Counted()
		return now == n
	})
}

// TestTheOldestStrangerIsCutOff: a connection that sends nothing, or bad credentials, is cut off for another
// one once it has had its time; a connection that has sent good credentials is not.
func TestTheOldestStrangerIsCutOff(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}), limited(Limits{AnonymousAddress: 2}))
	s.h.visits.MayLast(time.Hour, time.Hour)
	talk := func(c net.Conn, key string) {
		t.Helper()
		fmt.Fprintf(c, "GET /v1/default/clients/c HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", key)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
	}
	friend, stranger, mute := s.dial(), s.dial(), s.dial()
	talk(friend, testKey)
	talk(stranger, "wrong")
	others := []net.Conn{s.dial(), s.dial()}
	talk(others[1], "wrong")
	talk(stranger, "wrong") // none has been open for the hour
	s.h.visits.MayLast(0, time.Hour)
	for range 2 {
		talk(s.dial(), "wrong")
	}
	for _, c := range []net.Conn{stranger, mute} {
		hungUp(t, c, false)
	}
	talk(friend, testKey)
}

// TestTheConnectionIdleLongestIsCutOff: a connection without a request under way is cut off even if it had good
// credentials, with HTTP/1.1 and HTTP/2. One in use stays, and one that is used again counts as new.
func TestTheConnectionIdleLongestIsCutOff(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}), limited(Limits{AnonymousAddress: 2}))
	idle := func(n int) {
		t.Helper()
		apitest.Until(t, func() bool {
			_, _, now := s.h.visits.Counted()
			return now == n
		})
	}
	talk := func(c net.Conn) {
		t.Helper()
		fmt.Fprintf(c, "GET /v1/default/clients/c HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", testKey)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
	}
	stream := s.stream("/v1/default/events?client=a")
	stream.expect("culvert:hello")
	var many []net.Conn
	for i := range 4 { // none has been idle for long
		many = append(many, s.dial())
		talk(many[i])
		idle(i + 1)
	}
	for _, c := range many {
		talk(c)
		_ = c.Close()
	}
	idle(0)
	s.h.visits.MayLast(time.Hour, 0)
	first, second, third := s.dial(), s.dial(), s.dial()
	talk(first)
	idle(1)
	talk(second)
	idle(2)
	talk(first) // now second has been idle the longest
	idle(2)
	talk(third)
	hungUp(t, second, false)
	idle(2)
	talk(first)
	talk(third)
	idle(2)
	s.connected(1) // the stream is not among the idle ones
	stream.close()
	_, _ = first.Close(), third.Close()
	idle(0)

	two := func() *http.Client {
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		transport := &http.Transport{Protocols: protocols}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	for i := range 5 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/default/clients/c", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+testKey)
		res, err := two().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		idle(min(i+1, 2))
	}
}

// TestFramedTwice: a head with a Content-Length and a Transfer-Encoding is recognised in one piece or in many (RFC 9112, section 6.1).
func TestFramedTwice(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}))
	const head = "POST /v1/default/emit HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + testKey + "\r\nContent-Type: application/json\r\n"
	const body = "\r\nd\r\n{\"event\":\"e\"}\r\n0\r\n\r\n"
	for fields, closed := range map[string]bool{
		"Transfer-Encoding: chunked\r\n":                                                                    false,
		"content-length: 13\r\ntransfer-encoding: chunked\r\n":                                              true,
		"Transfer-Encoding: chunked\r\nX-Long: " + strings.Repeat("y", 9000) + "\r\nContent-Length: 13\r\n": true,
	} {
		for _, piece := range []int{1, 7, 1 << 20} {
			c := s.dial()
			r := bufio.NewReader(c)
			for request := range 2 {
				all := head + fields + body
				if request == 1 {
					all = head + "Transfer-Encoding: chunked\r\n" + body
				}
				for len(all) > 0 {
					n := min(piece, len(all))
					if _, err := io.WriteString(c, all[:n]); err != nil {
						break
					}
					all = all[n:]
				}
				res, err := http.ReadResponse(r, nil)
				if request == 1 && closed {
					if err == nil {
						t.Errorf("%.60q in pieces of %d: the connection is still used", fields, piece)
					}
					break
				}
				if err != nil || res.StatusCode != 201 || res.Close != closed {
					t.Fatalf("%.60q in pieces of %d, request %d: %v %v", fields, piece, request, res, err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
			}
		}
	}
}
