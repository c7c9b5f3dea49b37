package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

// byURL is a server that trusts the issuer alone.
func byURL(t *testing.T, i *issuer) *site {
	t.Helper()
	return siteOf(t, &memory{}, func(o *Options) { o.JWTSecret, o.JWKSURL = nil, i.server.URL })
}

func (s *site) status(token string) int {
	s.t.Helper()
	return s.get("/v1/default/events?wait=0", bearerOf(token)).status
}

// TestKeysRotate: a key is known as soon as a token names it, a withdrawn one is
// forgotten with the next fetch, and names nobody publishes cost few fetches.
func TestKeysRotate(t *testing.T) {
	first, second := ring()["ES256"].named("first"), ring()["EdDSA"].named("second")
	i := newIssuer(t, first)
	s := byURL(t, i)
	if got := s.status(first.sign(t, nil)); got != 200 {
		t.Fatalf("first key: %d", got)
	}
	i.publish(first, second)
	fetches := i.count()
	if got := s.status(second.sign(t, nil)); got != 200 {
		t.Errorf("new key: %d", got)
	}
	if got := s.status(first.sign(t, nil)); got != 200 {
		t.Errorf("old key beside the new one: %d", got)
	}
	if n := i.count() - fetches; n != 1 {
		t.Errorf("%d fetches for one new key", n)
	}
	i.publish(second)
	if got := s.status(stranger()["ES256"].named("nobody's").sign(t, nil)); got != 401 {
		t.Errorf("unknown key: %d", got)
	}
	if got := s.status(first.sign(t, nil)); got != 401 {
		t.Errorf("withdrawn key: %d", got)
	}
	for n := range 20 {
		s.status(stranger()["ES256"].named(fmt.Sprint(n)).sign(t, nil))
	}
	if n := i.count() - fetches; n > keysBurst {
		t.Errorf("%d fetches for names nobody has", n)
	}
	if got := s.status(second.sign(t, nil)); got != 200 {
		t.Errorf("known key after too many unknown ones: %d", got)
	}
}

// TestKnownKeysOutliveTheirServer: whatever is wrong with the URL, what was
// known goes on working and what was not is refused.
func TestKnownKeysOutliveTheirServer(t *testing.T) {
	known, other := ring()["RS256"].named("known"), ring()["ES256"].named("other")
	for name, breakIt := range map[string]func(*issuer){
		"gone":      func(i *issuer) { i.server.Close() },
		"500":       func(i *issuer) { i.answer(500, []byte(`{"keys":[]}`)) },
		"no JSON":   func(i *issuer) { i.answer(200, []byte(`<html>`)) },
		"no keys":   func(i *issuer) { i.answer(200, []byte(`{}`)) },
		"null":      func(i *issuer) { i.answer(200, []byte(`{"keys":null}`)) },
		"too large": func(i *issuer) { i.answer(200, []byte(`{"keys":[]}`+strings.Repeat(" ", keysSize))) },
		"too many":  func(i *issuer) { i.answer(200, []byte(`{"keys":[{}`+strings.Repeat(",{}", keysMost)+`]}`)) },
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, known)
			s := byURL(t, i)
			if got := s.status(known.sign(t, nil)); got != 200 {
				t.Fatalf("before: %d", got)
			}
			breakIt(i)
			if got := s.status(other.sign(t, nil)); got != 401 {
				t.Errorf("unknown key: %d", got)
			}
			if got := s.status(known.sign(t, nil)); got != 200 {
				t.Errorf("known key: %d", got)
			}
		})
	}
}

// TestNoKeysYet: before the first answer of the issuer a token is neither good
// nor bad, but what else is configured works.
func TestNoKeysYet(t *testing.T) {
	key := ring()["ES256"].named("key")
	i := newIssuer(t, key)
	i.answer(503, nil)
	s := siteOf(t, &memory{}, func(o *Options) { o.JWKSURL = i.server.URL })
	r := s.get("/v1/default/events?wait=0", bearerOf(key.sign(t, nil))).problem(503, "keys-unavailable", "")
	if r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.get("/v1/default/events?wait=0&client=c").is(200)
	if got := s.status(hs(jwt.SigningMethodHS256, testSecret).sign(t, nil)); got != 200 {
		t.Errorf("secret: %d", got)
	}
	i.publish(key)
	if got := s.status(key.sign(t, nil)); got != 200 {
		t.Errorf("after the first answer: %d", got)
	}
}

// TestOneFetchForAll: requests that come while a fetch is under way wait for it,
// and go away with their clients.
func TestOneFetchForAll(t *testing.T) {
	key := ring()["ES256"].named("key")
	i := newIssuer(t)
	i.hold = make(chan struct{})
	s := newTestKeyServer(t, i.server.URL)
	until(t, func() bool { return i.count() == 1 })
	i.publish(key) // the fetch under way has the old answer
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
	close(i.hold)
	waiting.Wait()
	if n := i.count(); n > 2 { // a late one of the ten may ask again
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

// TestCloseEndsAFetch: goleak in TestMain finds what would be left.
func TestCloseEndsAFetch(t *testing.T) {
	i := newIssuer(t)
	i.hold = make(chan struct{})
	s := openKeyServer(i.server.URL, algorithms, slog.New(slog.DiscardHandler))
	until(t, func() bool { return i.count() == 1 })
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

// TestKeysComeFromSafePlacesOnly: not even by redirect.
func TestKeysComeFromSafePlacesOnly(t *testing.T) {
	for _, target := range []string{"http://issuer.example/keys", "ftp://127.0.0.1/keys", "/"} {
		server := httptest.NewServer(http.RedirectHandler(target, http.StatusFound))
		defer server.Close()
		s := newTestKeyServer(t, server.URL)
		if keys, err := s.fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "redirects") {
			t.Errorf("%s: %v %v", target, keys, err)
		}
	}
	i := newIssuer(t, ring()["ES256"].named("key"))
	server := httptest.NewServer(http.RedirectHandler(i.server.URL, http.StatusFound))
	defer server.Close()
	if keys, err := newTestKeyServer(t, server.URL).fetch(t.Context()); err != nil || !keys.has("key") {
		t.Errorf("%v %v", keys, err)
	}
}

// TestHungIssuer: a fetch has an end of its own.
func TestHungIssuer(t *testing.T) {
	if c := newKeyClient(); c.Timeout <= 0 || c.Timeout > 10*time.Second {
		t.Errorf("timeout %v", c.Timeout)
	}
}
