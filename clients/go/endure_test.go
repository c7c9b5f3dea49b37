package culvert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestBusyServer: the client tries again when it was asked to, and not before.
func TestBusyServer(t *testing.T) {
	t.Parallel()
	transports(t, func(t *testing.T, transport Transport) {
		var asked, early atomic.Int32
		var until atomic.Pointer[time.Time]
		url := newSite(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || asked.Add(1) > 2 {
					next.ServeHTTP(w, r)
					return
				}
				if now, free := time.Now(), until.Load(); free != nil && now.Before(*free) {
					early.Add(1)
				}
				free := time.Now().Add(time.Second)
				until.Store(&free)
				w.Header().Set("Retry-After", "1")
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = io.WriteString(w, `{"type":"/problems/unavailable","title":"busy","status":503}`)
			})
		})
		got := newReceived(1)
		c := dial(t, url, Options{Client: "bob", Transport: transport})
		c.On("n", got.handle)
		if _, err := c.Join(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		done := listen(c)
		emit(t, c, "r", 0, 1)
		got.inOrder(t, 0)
		if early.Load() > 0 || asked.Load() < 3 || time.Now().Before(*until.Load()) {
			t.Errorf("%d of %d requests came too early", early.Load(), asked.Load())
		}
		c.Close()
		if err := get(t, done); err != nil {
			t.Error(err)
		}
	})
}

// TestExpiredOnTheWay: after the server ends a stream because its token expired, the client
// continues with another token from where it was.
func TestExpiredOnTheWay(t *testing.T) {
	t.Parallel()
	url := newSite(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && r.URL.Path == "/v1/default/token" {
				http.Error(w, "renewing does not work here", http.StatusBadGateway)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	var calls atomic.Int32
	connected := make(chan Transport, 10)
	got := newReceived(4)
	c := dial(t, url, Options{
		TokenFunc: func(context.Context) (string, error) {
			if calls.Add(1) > 2 {
				return token(t, "bob", time.Hour), nil
			}
			return token(t, "bob", 3*time.Second), nil
		},
		OnConnect: func(transport Transport) { connected <- transport },
		OnError:   func(error) {}, // it reports that the token cannot be renewed
	})
	c.On("n", got.handle)
	done := listen(c)
	get(t, connected)
	backend := dial(t, url, Options{})
	emit(t, backend, "@bob", 0, 2)
	for calls.Load() < 3 { // the second one ends, too
		select {
		case <-time.After(20 * time.Millisecond):
		case err := <-done:
			t.Fatal(err)
		}
	}
	emit(t, backend, "@bob", 2, 4)
	got.inOrder(t, 0)
	c.Close()
	if err := get(t, done); err != nil {
		t.Error(err)
	}
}

// TestEverythingAtOnce calls every method from many goroutines while connections break.
func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	const callers, rounds = 16, 8
	site := newSite(t, cutting(), forgetful(11))
	c := dial(t, site, Options{Token: token(t, "bob", time.Hour)})
	var seen sync.Map
	var count atomic.Int32
	all := make(chan struct{})
	c.On("n", func(_ context.Context, e *Event) (any, error) {
		var n int
		if err := json.Unmarshal(e.Data, &n); err != nil {
			return nil, err
		}
		if _, twice := seen.LoadOrStore(n, true); twice {
			t.Errorf("%d came twice", n)
		}
		if count.Add(1) == callers*rounds {
			close(all)
		}
		return n, nil
	})
	if _, err := c.Join(t.Context(), "r"); err != nil {
		t.Fatal(err)
	}
	done := listen(c)
	var work sync.WaitGroup
	for i := range callers {
		work.Go(func() {
			own := fmt.Sprintf("own-%d", i)
			for n := range rounds {
				m := Message{Event: "n", Data: i*rounds + n, Rooms: []string{"r"}}
				if _, err := c.Emit(t.Context(), m); err != nil {
					t.Error(err)
				}
				if _, err := c.Join(t.Context(), own); err != nil {
					t.Error(err)
				}
				c.On(own, func(context.Context, *Event) (any, error) { return nil, nil })
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*time.Millisecond)
				_, err := c.EmitWithReply(ctx, Message{Event: own, Rooms: []string{own}}, Ask{Timeout: time.Second})
				if cancel(); err == nil || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("an ask whose context ended: %v", err)
				}
				if _, err := c.Leave(t.Context(), own); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	get(t, all)
	for range callers {
		work.Go(c.Close)
	}
	work.Wait()
	if err := get(t, done); err != nil {
		t.Error(err)
	}
	if _, err := c.Emit(t.Context(), Message{Event: "n"}); err == nil {
		t.Error("an event was emitted after Close")
	}
}

// TestTokenUnderWay: a refused call waits for the token that another call gets, but
// not longer than its own context.
func TestTokenUnderWay(t *testing.T) {
	tokens := newTokens(Options{TokenFunc: func(context.Context) (string, error) { return "t", nil }})
	<-tokens.turn // another call has it
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan error, 2)
	go func() {
		_, err := tokens.renew(ctx, "refused")
		done <- err
		tokens.expire(ctx)
		done <- nil
	}()
	if err := get(t, done); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	_ = get(t, done)
	tokens.turn <- struct{}{}
}

// deadWire is a connection that stops forwarding on command, without being closed.
type deadWire struct {
	net.Conn
	dead *atomic.Bool
}

func (w deadWire) Write(b []byte) (int, error) {
	if w.dead.Load() {
		return len(b), nil
	}
	return w.Conn.Write(b)
}

// deadListener makes all its connections stop forwarding at once.
type deadListener struct {
	net.Listener
	now atomic.Pointer[atomic.Bool]
}

func (l *deadListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return deadWire{c, l.now.Load()}, err
}

// TestDeadHTTP2: a connection that many requests share dies silently, and the
// next calls use another one.
func TestDeadHTTP2(t *testing.T) {
	t.Parallel()
	to, err := url.Parse(newSite(t))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(to))
	listener := &deadListener{Listener: server.Listener}
	listener.now.Store(&atomic.Bool{})
	server.Listener = listener
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	c := dial(t, server.URL, Options{Client: "bob"})
	//nolint:forcetypeassert // the client's own
	c.requests.http.Transport.(*http.Transport).TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := c.Emit(ctx, Message{Event: "e"}); err != nil {
		t.Fatal(err)
	}
	old := listener.now.Swap(&atomic.Bool{})
	old.Store(true)
	if _, err := c.Emit(ctx, Message{Event: "e"}); err != nil {
		t.Error(err)
	}
}
