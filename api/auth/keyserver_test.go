package auth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/culvertmq/culvert/api/internal/apitest"
)

// TestOneFetchForAll: requests that arrive during a fetch wait for it, and stop waiting when their clients
// leave.
func TestOneFetchForAll(t *testing.T) {
	key := apitest.Ring()["ES256"].Named("key")
	i := apitest.NewIssuer(t)
	i.Hold = make(chan struct{})
	s := newTestKeyServer(t, i.Server.URL)
	apitest.Until(t, func() bool { return i.Count() == 1 })
	i.Publish(key) // the fetch under way has the old answer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.find(ctx, "key"); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that is gone: %v", err)
	}
	var waiting sync.WaitGroup
	for range 10 {
		waiting.Go(func() {
			if _, _, err := s.find(t.Context(), "key"); err != nil {
				t.Error(err)
			}
		})
	}
	close(i.Hold)
	waiting.Wait()
	if n := i.Count(); n > 2 { // a request that comes late may cause a second fetch
		t.Errorf("%d fetches", n)
	}
	if found, named, err := s.find(t.Context(), "key"); len(found) != 1 || !named || err != nil {
		t.Errorf("%v %v %v", found, named, err)
	}
}

func newTestKeyServer(t *testing.T, url string) *keyServer {
	t.Helper()
	s := openKeyServer(url, algorithms, slog.New(slog.DiscardHandler))
	t.Cleanup(s.close)
	return s
}

// TestCloseEndsAFetch: goleak in TestMain fails if the goroutine is still running.
func TestCloseEndsAFetch(t *testing.T) {
	i := apitest.NewIssuer(t)
	i.Hold = make(chan struct{})
	s := openKeyServer(i.Server.URL, algorithms, slog.New(slog.DiscardHandler))
	apitest.Until(t, func() bool { return i.Count() == 1 })
	waited := make(chan error)
	go func() {
		_, _, err := s.find(t.Context(), "x")
		waited <- err
	}()
	s.close()
	if err := <-waited; !errors.Is(err, errNoKeysYet) {
		t.Error(err)
	}
	s.rare = rate.NewLimiter(rate.Inf, 1)
	if _, _, err := s.find(t.Context(), "x"); !errors.Is(err, errNoKeysYet) {
		t.Errorf("after close: %v", err)
	}
	s.close()
}

// TestKeysComeFromSafePlacesOnly: keys are not fetched from an unsafe URL, not even after a redirect.
func TestKeysComeFromSafePlacesOnly(t *testing.T) {
	for _, target := range []string{"http://issuer.example/keys", "ftp://127.0.0.1/keys", "/"} {
		server := httptest.NewServer(http.RedirectHandler(target, http.StatusFound))
		defer server.Close()
		s := newTestKeyServer(t, server.URL)
		if keys, err := s.fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "redirects") {
			t.Errorf("%s: %v %v", target, keys, err)
		}
	}
	i := apitest.NewIssuer(t, apitest.Ring()["ES256"].Named("key"))
	server := httptest.NewServer(http.RedirectHandler(i.Server.URL, http.StatusFound))
	defer server.Close()
	if keys, err := newTestKeyServer(t, server.URL).fetch(t.Context()); err != nil || !keys.has("key") {
		t.Errorf("%v %v", keys, err)
	}
}

// TestHungIssuer: a fetch has a timeout of its own.
func TestHungIssuer(t *testing.T) {
	if c := newKeyClient(); c.Timeout <= 0 || c.Timeout > 10*time.Second {
		t.Errorf("timeout %v", c.Timeout)
	}
}
