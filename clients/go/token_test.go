package culvert

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestNoToken: a callback that returns an empty token is reported and called again.
func TestNoToken(t *testing.T) {
	said := []string{"", "t"}
	tokens := newTokens(Options{TokenFunc: func(context.Context) (string, error) {
		next := said[0]
		said = said[1:]
		return next, nil
	}})
	if _, err := tokens.get(t.Context()); err == nil || !strings.Contains(err.Error(), "empty string") || !temporary(err) {
		t.Errorf("told %v", err)
	}
	if token, err := tokens.get(t.Context()); token != "t" || err != nil {
		t.Errorf("%q, %v", token, err)
	}
	_, err := Dial(t.Context(), "http://culvert.test", Options{TokenFunc: func(context.Context) (string, error) { return "", nil }})
	if err == nil || !strings.Contains(err.Error(), "empty string") {
		t.Errorf("dial: %v", err)
	}
}

// TestTokenThatNeverComes: a callback that ignores its context does not block callers for ever. It is
// not called a second time meanwhile, and a token that it returns late is used.
func TestTokenThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		answer := make(chan gotToken)
		tokens := newTokens(Options{TokenFunc: func(context.Context) (string, error) {
			calls.Add(1)
			got := <-answer
			return got.token, got.err
		}})
		began := time.Now()
		for range 2 {
			_, err := tokens.get(t.Context())
			if !errors.Is(err, errSlowToken) || !temporary(err) {
				t.Fatalf("told %v", err)
			}
		}
		if waited := time.Since(began); waited != 2*tokenTime || calls.Load() != 1 {
			t.Errorf("the calls waited %v, and TokenFunc was called %d times", waited, calls.Load())
		}
		answer <- gotToken{err: errors.New("too late to be told")}
		go func() { answer <- gotToken{token: "t"} }()
		if token, err := tokens.get(t.Context()); token != "t" || err != nil || calls.Load() != 2 {
			t.Errorf("%q, %v, %d calls", token, err, calls.Load())
		}
	})
}

// TestSlowTokenIsTold: Listen reports that no token came, and continues.
func TestSlowTokenIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := Dial(t.Context(), "http://culvert.test", Options{Token: "t"})
		if err != nil {
			t.Fatal(err)
		}
		release, lost := make(chan struct{}), make(chan error, 100)
		c.o.OnLost = func(err error) { lost <- err }
		c.requests.tokens = newTokens(Options{TokenFunc: func(context.Context) (string, error) {
			<-release
			return "", errors.New("never mind")
		}})
		done := listen(c)
		if err := <-lost; err == nil {
			t.Error("told of nothing")
		}
		c.Close()
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestTokenNotValidYet: the issuer's clock is ahead, and the same token is valid later.
func TestTokenNotValidYet(t *testing.T) {
	var calls, asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer first" {
			t.Error("another token was sent")
		}
		if asked.Add(1) == 1 {
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"title":"not valid yet"}`))
			return
		}
		_, _ = w.Write([]byte(`{"offset":7,"cursor":"k:7"}`))
	}))
	defer server.Close()
	c, err := Dial(t.Context(), server.URL, Options{TokenFunc: func(context.Context) (string, error) {
		if calls.Add(1) > 1 {
			return "another", nil
		}
		return "first", nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began := time.Now()
	r, err := c.Emit(t.Context(), Message{Event: "e"})
	if err != nil || r.Offset != 7 || time.Since(began) < time.Second {
		t.Errorf("%+v, %v after %v", r, err, time.Since(began))
	}
	if e := endingOf(&Problem{Status: http.StatusUnauthorized, RetryAfter: time.Second}); e.kind != endBusy || e.after != time.Second {
		t.Errorf("Listen ends with %+v", e)
	}
}

// TestImpossibleAddress: Dial refuses addresses that cannot work, without showing a password.
func TestImpossibleAddress(t *testing.T) {
	for address, want := range map[string]string{
		"ws://h": "use http", "wss://h": "use https", "ftp://h": "http or https", "//h": "http or https", "http://": "host", "h:80": "https://culvert.example",
		"http://u:secret@h": "credentials", "http://h/?": "query", "http://h/?x=1": "query", "http://h/#": "fragment", "http://h/#x": "fragment",
		"http://u:secret@h:x": "https://culvert.example", "": "host",
	} {
		_, err := Dial(t.Context(), address, Options{Token: "t"})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %q", address, err, want)
		}
	}
}
