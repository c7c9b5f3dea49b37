package auth

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/culvertmq/culvert/api/internal/apitest"
)

// TestKeySet: only public keys for signatures are taken from what an issuer publishes.
func TestKeySet(t *testing.T) {
	good := apitest.Ring()["RS256"].Named("good").JWK(t)
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
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
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
	s := newTestKeyServer(t, apitest.NewIssuer(t, apitest.Ring()["ES256"]).Server.URL)
	s.close()
	s.log, s.algorithms = slog.New(slog.NewTextHandler(&log, nil)), []string{"EdDSA"}
	if _, err := s.fetch(t.Context()); err != nil || !strings.Contains(log.String(), "none of the published keys") {
		t.Errorf("%v, %s", err, &log)
	}
}

// Published keys are read strictly: "KID" is not taken for "kid".
func TestKeysAreReadStrictly(t *testing.T) {
	good, err := json.Marshal(apitest.Ring()["ES256"].Named("good").JWK(t))
	if err != nil {
		t.Fatal(err)
	}
	key := string(good[:len(good)-1])
	for name, c := range map[string]struct {
		set  string
		keys int // -1: an error
	}{
		"good":               {`{"keys":[` + key + `}]}`, 1},
		"KEYS":               {`{"KEYS":[` + key + `}]}`, -1},
		"keys twice":         {`{"keys":[],"keys":[` + key + `}]}`, -1},
		"keys is an object":  {`{"keys":{}}`, -1},
		"keys is null":       {`{"keys":null}`, -1},
		"kid twice":          {`{"keys":[` + key + `,"kid":"other"}]}`, 0},
		"half a pair":        {`{"keys":[` + key + `}],"x":"\ud800"}`, -1},
		"KID, which is none": {`{"keys":[` + key + `,"KID":"other","Use":"enc"}]}`, 1},
	} {
		set, err := parseKeySet([]byte(c.set), algorithms)
		switch {
		case c.keys < 0 && err == nil:
			t.Errorf("%s is taken", name)
		case c.keys >= 0 && (err != nil || len(set.all) != c.keys || c.keys == 1 && !set.has("good")):
			t.Errorf("%s: %v %v", name, set, err)
		}
	}
}
