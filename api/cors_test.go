package api

import (
	"strings"
	"testing"
)

func TestCORS(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}), func(o *Options) { o.CORSOrigins = []string{"https://app.example", "http://localhost:3000"} })
	preflight := func(origin, method string) result {
		return s.call("OPTIONS", "/v1/default/emit", "", header("Authorization", ""), header("Origin", origin),
			header("Access-Control-Request-Method", method), header("Access-Control-Request-Headers", "authorization,content-type"))
	}
	r := preflight("https://app.example", "POST").is(204)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://app.example", "Access-Control-Max-Age": "7200", "Access-Control-Allow-Credentials": "",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, name := range []string{"Authorization", "Content-Type", "Last-Event-ID", "Idempotency-Key", "Prefer"} {
		if !strings.Contains(r.header.Get("Access-Control-Allow-Headers"), name) {
			t.Errorf("%s is not allowed", name)
		}
	}
	if !strings.Contains(r.header.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("methods %q", r.header.Get("Access-Control-Allow-Methods"))
	}
	for _, origin := range []string{"https://evil.example", "https://app.example.evil.example", "http://app.example", "null"} {
		for _, r := range []result{preflight(origin, "POST"), s.get("/v1/default/events?client=c&wait=0", header("Origin", origin))} {
			if got := r.header.Get("Access-Control-Allow-Origin"); got != "" {
				t.Errorf("%s is allowed as %q", origin, got)
			}
		}
	}
	// The answers themselves, including problems.
	for _, r := range []result{
		s.get("/v1/default/events?client=c&wait=0", header("Origin", "http://localhost:3000")).is(200),
		s.get("/v1/default/events", header("Origin", "http://localhost:3000")).is(400),
		s.get("/v1/default/events", header("Origin", "http://localhost:3000"), header("Authorization", "")).is(401),
	} {
		if r.header.Get("Access-Control-Allow-Origin") != "http://localhost:3000" || !strings.Contains(r.header.Get("Vary"), "Origin") {
			t.Errorf("headers %v", r.header)
		}
		for _, name := range []string{"X-Request-Id", "Retry-After", "ETag"} {
			if !strings.Contains(r.header.Get("Access-Control-Expose-Headers"), name) {
				t.Errorf("%s is not exposed", name)
			}
		}
	}
	without := siteOf(t, inMemory(&memory{}))
	if r := without.get("/livez", header("Origin", "https://app.example")); r.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("CORS without origins")
	}
}
