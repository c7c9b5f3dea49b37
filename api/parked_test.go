package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// siteMaker is siteOf with one of the two kinds of streams.
type siteMaker func(t *testing.T, of owners, change ...func(*Options)) *site

// onBothPaths runs a test with parked streams and with streams that have a goroutine each. Both promise the same.
func onBothPaths(t *testing.T, test func(t *testing.T, site siteMaker)) {
	for name, without := range map[string]bool{"parked": false, "goroutines": true} {
		t.Run(name, func(t *testing.T) {
			test(t, func(t *testing.T, of owners, change ...func(*Options)) *site {
				return siteOf(t, of, append(change, func(o *Options) { o.NoParking = without })...)
			})
		})
	}
}

// counts waits until the handler has n streams, as the metric, the limits and the sessions count them.
func (s *site) counts(n int) {
	s.t.Helper()
	s.connected(n)
	apitest.Until(s.t, func() bool { return gauge(s.t, s.h.metrics.streams) == float64(n) })
}

func endsWith(t *testing.T, st *sseStream, reason string) {
	t.Helper()
	f := st.next()
	if f.Event == "culvert:hello" {
		f = st.next()
	}
	if f.Event != "culvert:reconnect" || decode(t, f.Data)["reason"] != reason {
		t.Errorf("%+v, want the reason %s", f, reason)
	}
	st.ends()
}

func TestStreamsKeepTheOrder(t *testing.T) {
	onBothPaths(t, func(t *testing.T, site siteMaker) {
		for name, tailEvents := range map[string]int{"from memory": 0, "from Postgres": 1} {
			t.Run(name, func(t *testing.T) {
				q, err := queue.Open(t.Context(), queue.Options{DatabaseURL: pgtest.Database(t), TailEvents: tailEvents})
				if err != nil {
					t.Fatal(err)
				}
				defer q.Close(context.Background())
				s := site(t, ownersOf(q))
				const before, after = 2500, 300
				emit := func(from, n int) {
					var batch []string
					for i := range n {
						batch = append(batch, fmt.Sprintf(`{"room":"r","event":"e","data":%d}`, from+i))
					}
					s.post("/v1/default/emit", `{"events":[`+strings.Join(batch, ",")+`]}`).is(http.StatusCreated)
				}
				for i := 0; i < before; i += 100 {
					emit(i, 100)
				}
				st := s.stream("/v1/default/events?rooms=r&from=earliest")
				st.expect("culvert:hello")
				go func() {
					for i := 0; i < after; i += 10 {
						emit(before+i, 10)
					}
				}()
				for i := range before + after {
					if got := payload(t, st.expect("e")); got != strconv.Itoa(i) {
						t.Fatalf("event %s, want %d", got, i)
					}
				}
				st.close()
				s.counts(0)
				s.idle()
			})
		}
	})
}

func TestWaysInWhichStreamsEnd(t *testing.T) {
	onBothPaths(t, func(t *testing.T, site siteMaker) {
		t.Run("max age", func(t *testing.T) {
			s := site(t, inMemory(&memory{}), func(o *Options) { o.MaxAge = time.Second })
			endsWith(t, s.stream("/v1/default/events?client=c"), "max_age")
			s.counts(0)
			s.idle()
		})
		t.Run("expiry", func(t *testing.T) {
			s := site(t, inMemory(&memory{}))
			endsWith(t, s.stream("/v1/default/events", bearerOf(tokenUntil(t, "c", time.Now().Add(2*time.Second)))), "expired")
			s.counts(0)
		})
		t.Run("drain", func(t *testing.T) {
			s := site(t, inMemory(&memory{}))
			st := s.stream("/v1/default/events?client=c")
			st.expect("culvert:hello")
			s.h.Drain()
			endsWith(t, st, "drain")
			if err := s.h.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			endsWith(t, s.stream("/v1/default/events?client=c"), "drain")
			s.counts(0)
		})
		t.Run("queue closed", func(t *testing.T) {
			m := &memory{}
			s := site(t, inMemory(m))
			st := s.stream("/v1/default/events?client=c")
			st.expect("culvert:hello")
			m.set(func() { m.pollErr = event.ErrClosed })
			endsWith(t, st, "drain")
			s.counts(0)
		})
		t.Run("revoked", func(t *testing.T) {
			s := site(t, ownersOf(openQueue(t, pgtest.Database(t))))
			st := s.stream("/v1/default/events", issuedAt(t, "alice", time.Now().Add(-time.Minute)))
			st.expect("culvert:hello")
			s.call("POST", "/v1/default/clients/alice/revoke", "").is(http.StatusNoContent)
			endsWith(t, st, "expired")
			s.counts(0)
		})
		t.Run("client left", func(t *testing.T) {
			m := &memory{}
			s := site(t, inMemory(m))
			for range 5 {
				s.stream("/v1/default/events?client=c").expect("culvert:hello")
			}
			s.counts(5)
			s.client.CloseIdleConnections()
			st := s.stream("/v1/default/events?client=c")
			st.expect("culvert:hello")
			st.close()
			s.counts(5)
			m.mu.Lock()
			defer m.mu.Unlock()
			if len(m.subs) != 5 {
				t.Errorf("%d subscriptions", len(m.subs))
			}
		})
	})
}

// A client that does not read is cut off at its deadline, whatever else happens, and delays nobody.
func TestASlowReaderDelaysNobody(t *testing.T) {
	onBothPaths(t, func(t *testing.T, site siteMaker) {
		s := site(t, inMemory(&memory{}), func(o *Options) { o.WriteTimeout = time.Second })
		slow := s.rawStream("/v1/default/events?client=slow")
		defer slow.Close()
		other := s.stream("/v1/default/events?client=other")
		other.expect("culvert:hello")
		s.counts(2)
		big := `"` + strings.Repeat("x", 200<<10) + `"`
		for i := range 100 {
			s.post("/v1/default/emit", `{"event":"e","data":`+big+`}`).is(http.StatusCreated)
			other.expect("e")
			if i == 99 {
				s.connected(1)
			}
		}
		s.counts(1)
	})
}

// rawStream opens a stream without reading more than the head of the answer.
func (s *site) rawStream(path string) net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(16 << 10)
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nAccept: text/event-stream\r\n\r\n", path, testKey)
	line, err := bufio.NewReaderSize(conn, 16).ReadString('\n')
	if err != nil || !strings.Contains(line, "200") {
		s.t.Fatalf("%q, %v", line, err)
	}
	return conn
}

// While Postgres is unavailable a stream stays open; it continues by itself.
func TestStreamsOutlivePostgres(t *testing.T) {
	onBothPaths(t, func(t *testing.T, site siteMaker) {
		m := &memory{}
		s := site(t, inMemory(m), func(o *Options) { o.Heartbeat = 100 * time.Millisecond })
		st := s.stream("/v1/default/events?client=c")
		st.expect("culvert:hello")
		m.set(func() { m.pollErr = fmt.Errorf("read: %w", event.ErrUnavailable) })
		for range 5 {
			st.expect("culvert:heartbeat")
		}
		m.set(func() { m.pollErr = nil })
		s.post("/v1/default/emit", `{"event":"e","data":1}`).is(http.StatusCreated)
		st.expect("e")
	})
}

// An idle stream costs no goroutine.
func TestParkedStreamsHaveNoGoroutines(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}))
	if runtime.GOOS != "linux" {
		t.Skip("streams are not parked on this system")
	}
	const n = 1000
	before := runtime.NumGoroutine()
	for i := range n {
		defer s.rawStream("/v1/default/events?client=c" + strconv.Itoa(i)).Close()
	}
	s.counts(n)
	apitest.Until(t, func() bool { return runtime.NumGoroutine() < before+20 })
	s.h.Drain()
	s.counts(0)
}

// What a client sends on the connection of a stream is not a request any more: the answer says so, and ends in order.
func TestInputOnAParkedStream(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}))
	conn := s.rawStream("/v1/default/events?client=c")
	defer conn.Close()
	s.counts(1)
	_, _ = io.WriteString(conn, strings.Repeat("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", 100))
	s.h.Drain()
	rest, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(rest), "Connection: close\r\n") || !strings.HasSuffix(string(rest), "\r\n0\r\n\r\n") {
		t.Errorf("%q, %v", rest, err)
	}
}

// A stream is not parked if something of the application is between it and the connection.
func TestStreamsBehindMiddlewareAreNotParked(t *testing.T) {
	for name, change := range map[string]func(s *http.Server, h *Handler){
		"middleware": func(s *http.Server, h *Handler) {
			s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) })
		},
		"base context": func(s *http.Server, _ *Handler) {
			s.BaseContext = func(net.Listener) context.Context { return context.Background() }
		},
		"HTTP/1.0": func(*http.Server, *Handler) {},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := newHandler(inMemory(&memory{}), Options{APIKeys: []string{testKey}})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			server := httptest.NewUnstartedServer(h)
			h.ConfigureServer(server.Config)
			change(server.Config, h)
			server.Listener = h.Listener(server.Listener)
			server.Start()
			defer server.Close()
			s := &site{t: t, url: server.URL, h: h, server: server, client: server.Client()}
			if name == "HTTP/1.0" {
				conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				fmt.Fprintf(conn, "GET /v1/default/events?client=c HTTP/1.0\r\nAuthorization: Bearer %s\r\nAccept: text/event-stream\r\n\r\n", testKey)
			} else {
				s.stream("/v1/default/events?client=c").expect("culvert:hello")
			}
			s.counts(1)
			if h.parking.Len() > 0 {
				t.Error("it is parked")
			}
			h.Drain()
			s.counts(0)
		})
	}
}
