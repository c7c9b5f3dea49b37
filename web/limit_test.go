package web

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ask asks for a token from an address.
func ask(h http.Handler, remote string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", Prefix+"token", strings.NewReader(`{"name":"Ann","secret":"abcdefghijklmnopqrst1"}`))
	r.Header.Set("Content-Type", "application/json")
	r.RemoteAddr = remote
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestTokensAreLimited: only an address that asks for too many tokens is refused, and
// it is told how long to wait.
func TestTokensAreLimited(t *testing.T) {
	h, err := New(func(client string, _ time.Duration) (string, error) { return "token of " + client, nil })
	if err != nil {
		t.Fatal(err)
	}
	for i := range addressBurst {
		if w := ask(h, "192.0.2.1:"+strconv.Itoa(1000+i)); w.Code != 200 {
			t.Fatalf("number %d: %d %s", i, w.Code, w.Body)
		}
	}
	w := ask(h, "192.0.2.1:9")
	for w.Code == 200 { // as many as have come back meanwhile
		w = ask(h, "192.0.2.1:9")
	}
	var p problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if w.Code != 429 || w.Header().Get("Retry-After") != "1" || w.Header().Get("Content-Type") != "application/problem+json" ||
		p.Type != "/problems/rate-limited" || p.Status != 429 || !strings.Contains(p.Detail, "try again in 1 s") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := ask(h, "192.0.2.2:9"); w.Code != 200 {
		t.Errorf("another address: %d", w.Code)
	}
}

func TestLimiter(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := newLimiter()
	all := []netip.Addr{netip.MustParseAddr("10.0.0.0")}
	for i := range 2 * maxAddresses {
		all = append(all, all[i].Next())
	}
	for range addressBurst {
		if wait := l.take(now, all[0]); wait != 0 {
			t.Fatal(wait)
		}
	}
	if wait := l.take(now, all[0]); wait != time.Second/2 {
		t.Errorf("an address: %v", wait)
	}
	if wait := l.take(now.Add(time.Second/2), all[0]); wait != 0 {
		t.Errorf("half a second later: %v", wait)
	}

	// Many addresses together: a refusal takes no token from their own buckets.
	l = newLimiter()
	for i := range totalBurst {
		if wait := l.take(now, all[i]); wait != 0 {
			t.Fatal(wait)
		}
	}
	for range 3 {
		if wait := l.take(now, all[totalBurst]); wait != time.Second/20 {
			t.Errorf("all: %v", wait)
		}
	}
	if _, kept := l.by[all[totalBurst]]; kept {
		t.Error("an address that got nothing is kept")
	}

	// The memory is bounded, even when no bucket is full.
	for i := range 2 * maxAddresses {
		now = now.Add(time.Second / 20)
		if wait := l.take(now, all[i]); wait != 0 {
			t.Fatal(wait)
		}
	}
	if len(l.by) > maxAddresses {
		t.Errorf("%d addresses are kept", len(l.by))
	}
}

func TestOrigin(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1",
		"[2001:db8:1:2:3::4]:80": "2001:db8:1:2::", "[fe80::1%eth0]:80": "fe80::", "@": "invalid IP",
	} {
		if got := origin(remote).String(); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}
