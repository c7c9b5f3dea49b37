package culvert

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/api"
)

// TestAnIssuersClockIsAhead: the client waits until a token is valid, and gets no other
// token meanwhile, which would be valid even later.
func TestAnIssuersClockIsAhead(t *testing.T) {
	t.Parallel()
	var early atomic.Int32
	url := newSite(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen := &statusOf{ResponseWriter: w}
			if next.ServeHTTP(seen, r); seen.status == http.StatusUnauthorized {
				early.Add(1)
			}
		})
	})
	var calls atomic.Int32
	o := Options{Earliest: true, TokenFunc: func(context.Context) (string, error) {
		calls.Add(1)
		ahead := time.Now().Add(7 * time.Second) // the leeway is 5 s
		return api.SignToken(testSecret, api.Claims{
			RegisteredClaims: jwt.RegisteredClaims{
				Subject: "alice", IssuedAt: jwt.NewNumericDate(ahead), ExpiresAt: jwt.NewNumericDate(ahead.Add(time.Hour)),
			},
			Rooms: []string{"*"}, Emit: []string{"*"},
		})
	}}
	listening := dial(t, url, o)
	got := newReceived(1)
	listening.On("n", got.handle)
	ended := listen(listening)
	emit(t, dial(t, url, o), "*", 0, 1)
	select {
	case <-got.all:
	case err := <-ended:
		t.Fatal("gave up:", err)
	case <-time.After(patience):
		t.Fatal("not all events came in time")
	}
	if early.Load() == 0 || calls.Load() != 2 {
		t.Errorf("%d answers said that it is too early, 2 clients got %d tokens", early.Load(), calls.Load())
	}
}

// statusOf notes the status of an answer.
type statusOf struct {
	http.ResponseWriter

	status int
}

func (s *statusOf) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusOf) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// TestDotsAreNoNames: leaving ".." must not become forgetting the client if a proxy
// resolves the URL. Nothing is sent.
func TestDotsAreNoNames(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	url := newSite(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) })
	})
	c := dial(t, url, Options{Client: "alice"})
	for _, dots := range []string{".", ".."} {
		if _, err := c.Join(t.Context(), dots); !errors.Is(err, ErrName) {
			t.Errorf("join %q: %v", dots, err)
		}
		if _, err := c.Leave(t.Context(), dots); !errors.Is(err, ErrName) {
			t.Errorf("leave %q: %v", dots, err)
		}
		for _, o := range []Options{{Token: testKey, Client: dots}, {Token: testKey, Namespace: dots}} {
			if _, err := Dial(t.Context(), url, o); !errors.Is(err, ErrName) {
				t.Errorf("options %+v: %v", o, err)
			}
		}
	}
	for _, path := range []string{"/rooms/../clients/me", "/rooms/%2e%2E/clients/me", "/clients/.%2e", "/.", "/rooms/%2E"} {
		if _, err := c.Do(t.Context(), Request{Method: http.MethodDelete, Path: path}); !errors.Is(err, ErrName) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}
