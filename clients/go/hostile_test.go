package culvert

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// isStream reports whether a request asks for a stream.
func isStream(r *http.Request) bool { return r.Header.Get("Accept") == "text/event-stream" }

// withholding holds the body of a stream until its end, as some gateways do.
func withholding(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isStream(r) {
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(httptest.NewRecorder(), r)
	})
}

// refusing answers a stream with a page of its own.
func refusing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isStream(r) {
			http.Error(w, "no streams here", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// snip is a body that ends after a number of bytes.
type snip struct {
	http.ResponseWriter
	left int
}

func (s *snip) Write(b []byte) (int, error) {
	n := min(len(b), s.left)
	_, _ = s.ResponseWriter.Write(b[:n])
	if s.left -= n; s.left == 0 {
		_ = http.NewResponseController(s.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return len(b), nil
}

func (s *snip) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// cutting resets each answer to a request for events after another number of bytes.
func cutting() way {
	var requests atomic.Int32
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/events") {
				w = &snip{w, 500 + int(requests.Add(1))*997%4000}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// forgetful loses one in `every` answers to a POST, after the server has handled it.
func forgetful(every int32) way {
	var posts atomic.Int32
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost || posts.Add(1)%every != 1 {
				next.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		})
	}
}

// busy answers some requests in place of the server.
func busy() way {
	var requests atomic.Int32
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1)%7 != 1 {
				next.ServeHTTP(w, r)
				return
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		})
	}
}

// headerless removes headers that it does not know.
func headerless(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Last-Event-ID")
		r.Header.Del("Prefer")
		next.ServeHTTP(w, r)
	})
}

// TestHostileWays: behind each of these proxies all events arrive once and in
// order, by the transport that works there.
func TestHostileWays(t *testing.T) {
	for name, c := range map[string]struct {
		way  way
		want Transport // at the end; Auto: either
	}{
		"withholds":  {withholding, Poll},
		"refuses":    {refusing, Poll},
		"cuts":       {cutting(), Auto},
		"forgets":    {forgetful(9), Stream},
		"is busy":    {busy(), Auto},
		"headerless": {headerless, Stream},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const events = 60
			url := newSite(t, c.way)
			var by atomic.Value
			o := Options{Token: token(t, "bob", time.Hour), OnConnect: func(transport Transport) { by.Store(transport) }}
			o.OnError = func(err error) { t.Error(err) }
			bob, got := dial(t, url, o), newReceived(events)
			bob.On("n", got.handle)
			// The server must know the client before the events come, because it starts at the head.
			if _, err := bob.Join(t.Context(), "r"); err != nil {
				t.Fatal(err)
			}
			done := listen(bob)
			emit(t, dial(t, url, Options{Token: token(t, "alice", time.Hour)}), "r", 0, events)
			got.inOrder(t, 0)
			if transport := by.Load(); c.want != Auto && transport != c.want {
				t.Errorf("the client ended with %v, want %s", transport, c.want)
			}
			bob.Close()
			if err := get(t, done); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestVerdictIsShared: the next client knows what one client found out.
func TestVerdictIsShared(t *testing.T) {
	var streams atomic.Int32
	url := newSite(t, withholding, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isStream(r) {
				streams.Add(1)
			}
			next.ServeHTTP(w, r)
		})
	})
	for range 2 {
		connected := make(chan Transport, 10)
		c := dial(t, url, Options{Client: "c", OnConnect: func(transport Transport) { connected <- transport }})
		done := listen(c)
		if got := get(t, connected); got != Poll {
			t.Errorf("connected by %s", got)
		}
		// After the answer that connects, another poll makes the verdict.
		if _, err := c.Emit(t.Context(), Message{Event: "n", Rooms: []string{"@c"}}); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if err := get(t, done); err != nil {
			t.Error(err)
		}
	}
	if streams.Load() != 1 {
		t.Errorf("tried %d streams", streams.Load())
	}
}

// TestTokenRenewal: a stream outlives its token, and a refused token is
// replaced.
func TestTokenRenewal(t *testing.T) {
	renewed := make(chan string, 10)
	url := newSite(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			if strings.HasSuffix(r.URL.Path, "/token") {
				renewed <- r.Header.Get("Authorization")
			}
		})
	})
	var calls atomic.Int32
	connected := make(chan Transport, 10)
	lost := make(chan error, 10)
	got := newReceived(2)
	c := dial(t, url, Options{
		TokenFunc: func(context.Context) (string, error) {
			switch calls.Add(1) {
			case 1:
				return "refused", nil
			case 2:
				return token(t, "bob", 4*time.Second), nil
			}
			return token(t, "bob", time.Hour), nil
		},
		OnConnect: func(transport Transport) { connected <- transport },
		OnLost:    func(err error) { lost <- err },
	})
	c.On("n", got.handle)
	done := listen(c)
	get(t, connected)
	backend := dial(t, url, Options{})
	emit(t, backend, "@bob", 0, 1)
	if got := get(t, renewed); got == "" {
		t.Error("the renewal was sent without a token")
	}
	emit(t, backend, "@bob", 1, 2)
	got.inOrder(t, 0)
	c.Close()
	if err := get(t, done); err != nil || len(lost) > 0 || len(connected) > 0 {
		t.Errorf("%v, lost %d times", err, len(lost))
	}
	if calls.Load() != 3 {
		t.Errorf("TokenFunc was called %d times", calls.Load())
	}
	sad := errors.New("no network")
	if _, err := Dial(t.Context(), url, Options{TokenFunc: func(context.Context) (string, error) { return "", sad }}); !errors.Is(err, sad) {
		t.Errorf("dial: %v", err)
	}
}
