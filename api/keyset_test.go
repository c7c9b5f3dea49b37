package api

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
)

// TestKeySet: of what an issuer publishes only public keys for signatures count.
func TestKeySet(t *testing.T) {
	good := ring()["RS256"].named("good").jwk(t)
	set := func(keys ...any) []byte {
		b, err := json.Marshal(map[string]any{"keys": keys})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	changed := func(change string) map[string]any {
		b, err := json.Marshal(good)
		if err != nil {
			t.Fatal(err)
		}
		m := decode(t, string(b))
		name, value, _ := strings.Cut(change, "=")
		m["kid"], m[name] = "changed", value
		if name == "key_ops" {
			m[name] = []string{value}
		}
		return m
	}
	for name, c := range map[string]struct {
		key  any
		want bool
	}{
		"as published":  {changed("x=y"), true},
		"any algorithm": {changed("alg="), true},
		"for verifying": {changed("key_ops=verify"), true},
		"for signing":   {changed("key_ops=sign"), false},
		"encryption":    {changed("use=enc"), false},
		"other RS":      {changed("alg=RS512"), false},
		"not its type":  {changed("alg=ES256"), false},
		"HS":            {changed("alg=HS256"), false},
		"secret":        {map[string]string{"kty": "oct", "kid": "changed", "k": "c2VjcmV0", "alg": "HS256"}, false},
		"damaged":       {changed("n=!"), false},
		"unknown type":  {changed("kty=PQC"), false},
		"no object":     {7, false},
	} {
		keys, err := parseKeySet(set(c.key, good), algorithms)
		if err != nil || !keys.has("good") || keys.has("changed") != c.want {
			t.Errorf("%s: %v %v", name, keys, err)
		}
	}
}

func TestUselessKeysAreLogged(t *testing.T) {
	var log bytes.Buffer
	s := newTestKeyServer(t, newIssuer(t, ring()["ES256"]).server.URL)
	s.close()
	s.log, s.algorithms = slog.New(slog.NewTextHandler(&log, nil)), []string{"EdDSA"}
	if _, err := s.fetch(t.Context()); err != nil || !strings.Contains(log.String(), "none of the keys") {
		t.Errorf("%v, %s", err, &log)
	}
}
