package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
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
	if n := i.count() - fetches; n > 3 {
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
		"too large": func(i *issuer) { i.answer(200, []byte(`{"keys":[]}`+strings.Repeat(" ", 256<<10))) },
		"too many":  func(i *issuer) { i.answer(200, []byte(`{"keys":[{}`+strings.Repeat(",{}", 64)+`]}`)) },
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
