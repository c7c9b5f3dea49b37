package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestHistory(t *testing.T) {
	s := newSite(t)
	var at []string
	for i := range 5 {
		at = append(at, s.emit("r", fmt.Sprint(i), func(r *http.Request) {}))
	}
	s.post("/v1/default/emit", `{"room":"r","event":"e","data":5,"except":["@alice"]}`).is(201)
	path := "/v1/default/rooms/r/events"
	full := s.get(path + "?limit=2").is(200)
	if p := full.page(); !slices.Equal(p.data(), []string{"0", "1"}) || p.Cursor != at[1] || !p.More {
		t.Errorf("page %+v", p)
	}
	tag := full.header.Get("ETag")
	if !strings.HasPrefix(tag, `"`) || full.header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("headers %v", full.header)
	}
	for _, match := range []string{tag, `"x", W/` + tag, "*"} {
		if r := s.get(path+"?limit=2", header("If-None-Match", match)).is(304); r.body != "" || r.header.Get("ETag") != tag {
			t.Errorf("304 with %q and %v", r.body, r.header)
		}
	}
	s.get(path+"?limit=2&after="+at[0], header("If-None-Match", tag)).is(200)
	rest := s.get(path + "?after=" + at[2])
	if p := rest.page(); !slices.Equal(p.data(), []string{"3", "4", "5"}) || p.More || rest.header.Get("ETag") != "" {
		t.Errorf("page %+v, headers %v", p, rest.header)
	}
	if p := s.get(path, bearerOf(token(t, "alice", "rooms:r"))).page(); len(p.Events) != 5 {
		t.Errorf("alice sees an event that excepts her: %v", p.data())
	}
	if p := s.get(path + "?client=alice").page(); len(p.Events) != 5 {
		t.Errorf("a backend that acts for alice sees an event that excepts her: %v", p.data())
	}
	if p := s.get("/v1/default/rooms/nowhere/events").page(); len(p.Events) != 0 || p.Cursor == "" {
		t.Errorf("page %+v", p)
	}
}

func TestClientState(t *testing.T) {
	s := newSite(t)
	alice := bearerOf(token(t, "alice"))
	s.get("/v1/default/clients/me", alice).is(404)
	s.get(eventsOfAlice, alice).is(200)
	s.emit("*", "1")
	s.emit("@alice", "1")
	s.emit("@bob", "1")
	got := s.get("/v1/default/clients/me", alice).is(200).json()
	if got["client"] != "alice" || fmt.Sprint(got["lag"]) != "2" || got["lag_capped"] != nil {
		t.Errorf("state %v", got)
	}
	rooms := fmt.Sprint(got["rooms"])
	if !strings.Contains(rooms, "@alice") || !strings.Contains(rooms, "*") {
		t.Errorf("rooms %v", rooms)
	}
	for _, r := range []result{
		s.get("/v1/default/clients/alice"), s.get("/v1/default/clients/me?client=alice"), s.get("/v1/default/clients/alice", alice),
	} {
		if r.is(200).json()["cursor"] != got["cursor"] {
			t.Errorf("%s differs from %v", r.body, got)
		}
	}
}

func TestNamespacesAreApart(t *testing.T) {
	s := newSite(t)
	s.post("/v1/one/emit", `{"event":"e","room":"r","data":1}`).is(201)
	s.post("/v1/two/emit", `{"event":"e","room":"r","data":2}`).is(201)
	for ns, want := range map[string]string{"one": "1", "two": "2"} {
		if p := s.get("/v1/" + ns + "/rooms/r/events").page(); !slices.Equal(p.data(), []string{want}) {
			t.Errorf("%s: %v", ns, p.data())
		}
	}
	both := bearerOf(token(t, "a", "ns:one", "ns:two", "rooms:*"))
	s.get("/v1/one/rooms/r/events", both).is(200)
	s.get("/v1/two/rooms/r/events", both).is(200)
	s.get("/v1/default/rooms/r/events", both).is(404)
}
