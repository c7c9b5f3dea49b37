package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/api/internal/apitest"
)

// byURL is a server that trusts only the issuer.
func byURL(t *testing.T, i *apitest.Issuer) *site {
	t.Helper()
	return siteOf(t, inMemory(&memory{}), func(o *Options) { o.JWTSecret, o.JWKSURL = nil, i.Server.URL })
}

func (s *site) status(token string) int {
	s.t.Helper()
	return s.get("/v1/default/events?wait=0", bearerOf(token)).status
}

// TestKeysRotate: a new key works as soon as a token names it, a withdrawn one is dropped at the next fetch,
// and tokens with unknown key names cause few fetches.
func TestKeysRotate(t *testing.T) {
	first, second := apitest.Ring()["ES256"].Named("first"), apitest.Ring()["EdDSA"].Named("second")
	i := apitest.NewIssuer(t, first)
	s := byURL(t, i)
	if got := s.status(first.Sign(t, nil)); got != 200 {
		t.Fatalf("first key: %d", got)
	}
	i.Publish(first, second)
	fetches := i.Count()
	if got := s.status(second.Sign(t, nil)); got != 200 {
		t.Errorf("new key: %d", got)
	}
	if got := s.status(first.Sign(t, nil)); got != 200 {
		t.Errorf("old key beside the new one: %d", got)
	}
	if n := i.Count() - fetches; n != 1 {
		t.Errorf("%d fetches for one new key", n)
	}
	i.Publish(second)
	if got := s.status(apitest.Stranger()["ES256"].Named("nobody's").Sign(t, nil)); got != 401 {
		t.Errorf("unknown key: %d", got)
	}
	if got := s.status(first.Sign(t, nil)); got != 401 {
		t.Errorf("withdrawn key: %d", got)
	}
	for n := range 20 {
		s.status(apitest.Stranger()["ES256"].Named(fmt.Sprint(n)).Sign(t, nil))
	}
	if n := i.Count() - fetches; n > 3 {
		t.Errorf("%d fetches for names nobody has", n)
	}
	if got := s.status(second.Sign(t, nil)); got != 200 {
		t.Errorf("known key after too many unknown ones: %d", got)
	}
}

// TestKnownKeysOutliveTheirServer: whatever the URL answers, known keys stay in use and unknown ones are
// refused.
func TestKnownKeysOutliveTheirServer(t *testing.T) {
	known, other := apitest.Ring()["RS256"].Named("known"), apitest.Ring()["ES256"].Named("other")
	for name, breakIt := range map[string]func(*apitest.Issuer){
		"gone":      func(i *apitest.Issuer) { i.Server.Close() },
		"500":       func(i *apitest.Issuer) { i.Answer(500, []byte(`{"keys":[]}`)) },
		"no JSON":   func(i *apitest.Issuer) { i.Answer(200, []byte(`<html>`)) },
		"no keys":   func(i *apitest.Issuer) { i.Answer(200, []byte(`{}`)) },
		"null":      func(i *apitest.Issuer) { i.Answer(200, []byte(`{"keys":null}`)) },
		"too large": func(i *apitest.Issuer) { i.Answer(200, []byte(`{"keys":[]}`+strings.Repeat(" ", 256<<10))) },
		"too many":  func(i *apitest.Issuer) { i.Answer(200, []byte(`{"keys":[{}`+strings.Repeat(",{}", 64)+`]}`)) },
	} {
		t.Run(name, func(t *testing.T) {
			i := apitest.NewIssuer(t, known)
			s := byURL(t, i)
			if got := s.status(known.Sign(t, nil)); got != 200 {
				t.Fatalf("before: %d", got)
			}
			breakIt(i)
			if got := s.status(other.Sign(t, nil)); got != 401 {
				t.Errorf("unknown key: %d", got)
			}
			if got := s.status(known.Sign(t, nil)); got != 200 {
				t.Errorf("known key: %d", got)
			}
		})
	}
}

// TestNoKeysYet: before the issuer's first answer a token is neither accepted nor refused for good, and other
// credentials work.
func TestNoKeysYet(t *testing.T) {
	key := apitest.Ring()["ES256"].Named("key")
	i := apitest.NewIssuer(t, key)
	i.Answer(503, nil)
	s := siteOf(t, inMemory(&memory{}), func(o *Options) { o.JWKSURL = i.Server.URL })
	r := s.get("/v1/default/events?wait=0", bearerOf(key.Sign(t, nil))).problem(503, "keys-unavailable", "")
	if r.header.Get("Retry-After") == "" {
		t.Error("the refusal has no Retry-After")
	}
	s.get("/v1/default/events?wait=0&client=c").is(200)
	if got := s.status(apitest.HS(jwt.SigningMethodHS256, testSecret).Sign(t, nil)); got != 200 {
		t.Errorf("secret: %d", got)
	}
	i.Publish(key)
	if got := s.status(key.Sign(t, nil)); got != 200 {
		t.Errorf("after the first answer: %d", got)
	}
}
