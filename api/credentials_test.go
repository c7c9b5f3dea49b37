package api

import (
	"encoding/base64"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestCredentials(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}))
	exp := time.Now().Add(time.Hour).Unix()
	sign := func(method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
		token, err := jwt.NewWithClaims(method, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	hs := func(claims jwt.MapClaims) string { return sign(jwt.SigningMethodHS256, testSecret, claims) }
	good := hs(jwt.MapClaims{"sub": "alice", "exp": exp})
	none := sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"sub": "alice", "exp": exp})
	tampered := strings.Split(good, ".")
	tampered[1] = base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"bob","exp":99999999999}`))

	const path = "/v1/default/events?wait=0"
	for name, c := range map[string]struct {
		query, authorization string
		status               int
	}{
		"key":                    {"&client=c", "Bearer " + testKey, 200},
		"other key, other case":  {"&client=c", "bearer another-key-of-backends", 200},
		"key with space":         {"&client=c", "Bearer   " + testKey + " ", 200},
		"key in query":           {"&client=c&access_token=" + testKey, "", 200},
		"token":                  {"", "Bearer " + good, 200},
		"token in query":         {"&access_token=" + good, "", 200},
		"own client":             {"&client=alice", "Bearer " + good, 200},
		"ns as string":           {"", "Bearer " + hs(jwt.MapClaims{"sub": "a", "exp": exp, "ns": "default"}), 200},
		"ns as list":             {"", "Bearer " + hs(jwt.MapClaims{"sub": "a", "exp": exp, "ns": []string{"x", "default"}}), 200},
		"other ns":               {"", "Bearer " + hs(jwt.MapClaims{"sub": "a", "exp": exp, "ns": "x"}), 404},
		"no ns at all":           {"", "Bearer " + hs(jwt.MapClaims{"sub": "a", "exp": exp, "ns": []string{}}), 404},
		"nothing":                {"", "", 401},
		"empty bearer":           {"", "Bearer ", 401},
		"no scheme":              {"", testKey, 401},
		"prefix of a key":        {"", "Bearer " + testKey[:5], 401},
		"key and more":           {"", "Bearer " + testKey + "x", 401},
		"bad header, good query": {"&access_token=" + testKey, "Bearer wrong", 401},
		"none":                   {"", "Bearer " + none, 401},
		"HS512":                  {"", "Bearer " + sign(jwt.SigningMethodHS512, testSecret, jwt.MapClaims{"sub": "a", "exp": exp}), 200},
		"other secret":           {"", "Bearer " + sign(jwt.SigningMethodHS256, []byte("x"), jwt.MapClaims{"sub": "a", "exp": exp}), 401},
		"tampered":               {"", "Bearer " + strings.Join(tampered, "."), 401},
		"expired":                {"", "Bearer " + hs(jwt.MapClaims{"sub": "a", "exp": time.Now().Add(-time.Second).Unix()}), 401},
		"not yet":                {"", "Bearer " + hs(jwt.MapClaims{"sub": "a", "exp": exp, "nbf": exp}), 401},
		"no exp":                 {"", "Bearer " + hs(jwt.MapClaims{"sub": "a"}), 401},
		"no sub":                 {"", "Bearer " + hs(jwt.MapClaims{"exp": exp}), 401},
		"bad sub":                {"", "Bearer " + hs(jwt.MapClaims{"sub": "a\nb", "exp": exp}), 401},
		"sub no string":          {"", "Bearer " + hs(jwt.MapClaims{"sub": 7, "exp": exp}), 401},
		"rooms no strings":       {"", "Bearer " + hs(jwt.MapClaims{"sub": "a", "exp": exp, "rooms": []int{1}}), 401},
	} {
		r := s.get(path+c.query, header("Authorization", c.authorization))
		if r.status != c.status {
			t.Errorf("%s: %d %s, want %d", name, r.status, r.body, c.status)
		}
		if strings.Contains(r.body, testKey) || strings.Contains(r.body, good) {
			t.Errorf("%s: the answer repeats the credentials: %s", name, r.body)
		}
	}
}

// Nobody can find an API key or a JWT secret by trying.
func TestWeakSecretsAreRefused(t *testing.T) {
	good := "0123456789abcdef"
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"one character": {Options{APIKeys: []string{good, "k"}}, "API key 2 of 2 has 1 characters, fewer than 16"},
		"15 characters": {Options{APIKeys: []string{good[1:]}}, "API key 1 of 1 has 15 characters"},
		"31 bytes":      {Options{JWTSecret: testSecret[1:]}, "the JWT secret has 31 bytes, fewer than 32"},
	} {
		if _, err := newHandler(inMemory(&memory{}), c.o); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--allow-weak-secrets") {
			t.Errorf("%s: %v", name, err)
		}
		c.o.AllowWeakSecrets, c.o.Logger = true, slog.New(slog.DiscardHandler)
		h, err := newHandler(inMemory(&memory{}), c.o)
		if err != nil {
			t.Errorf("%s, allowed: %v", name, err)
			continue
		}
		h.Close()
	}
	h, err := newHandler(inMemory(&memory{}), Options{APIKeys: []string{good}, JWTSecret: testSecret})
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
}

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]Options{
		"nothing":   {},
		"empty key": {APIKeys: []string{testKey, ""}, AllowWeakSecrets: true},
		"negative":  {APIKeys: []string{testKey}, Heartbeat: -1},
		"long wait": {APIKeys: []string{testKey}, MaxWait: time.Minute},
		"star":      {APIKeys: []string{testKey}, CORSOrigins: []string{"*"}},
		"pattern":   {APIKeys: []string{testKey}, CORSOrigins: []string{"https://*.example"}},
		"path":      {APIKeys: []string{testKey}, CORSOrigins: []string{"https://app.example/"}},
		"no scheme": {APIKeys: []string{testKey}, CORSOrigins: []string{"app.example"}},
	} {
		if _, err := newHandler(inMemory(&memory{}), o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
