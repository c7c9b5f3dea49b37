package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue/registry"
)

func TestNamespacesOverHTTP(t *testing.T) {
	a, b, admin := twoSites(t)
	full := `{"retention":3600,"dedup":60.5,"public":["news-*"],"presence":["*"],"emit_rate":100,"client_rate":2.5,"max_connections_client":3,"max_rooms_client":4}`
	created := a.call("PUT", "/v1/tenant", full).is(201)
	for name, want := range decode(t, full) {
		if got := created.json()[name]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if r := b.get("/v1/tenant").is(200); r.body != created.body {
		t.Errorf("the other instance says %s, not %s", r.body, created.body)
	}
	if r := b.call("PATCH", "/v1/tenant", `{"retention":null,"emit_rate":7}`).is(200).json(); r["retention"] != nil ||
		fmt.Sprint(r["emit_rate"]) != "7" || fmt.Sprint(r["dedup"]) != "60.5" {
		t.Errorf("patched to %v", r)
	}
	if r := a.call("PUT", "/v1/tenant", `{"max_rooms_client":9}`).is(200).json(); r["dedup"] != nil || fmt.Sprint(r["max_rooms_client"]) != "9" {
		t.Errorf("put to %v", r)
	}
	a.call("PUT", "/v1/bare", "").is(201)
	names := func(s *site, options ...option) (names []string) {
		for _, n := range s.get("/v1", options...).is(200).json()["namespaces"].([]any) {
			names = append(names, n.(map[string]any)["namespace"].(string))
		}
		return names
	}
	if got := names(b); fmt.Sprint(got) != "[bare default tenant]" {
		t.Errorf("namespaces %v", got)
	}
	bare, _ := event.ParseNamespace("bare")
	_, one := storedToken(t, admin, registry.APIKey{Namespaces: []event.Namespace{bare}}, a)
	if got := names(a, bearerOf(one)); fmt.Sprint(got) != "[bare]" {
		t.Errorf("a limited key sees %v", got)
	}
	a.get("/v1/bare", bearerOf(one)).is(200)
	a.get("/v1/tenant", bearerOf(one)).is(404)
	for _, method := range []string{"PUT", "PATCH", "DELETE"} {
		a.call(method, "/v1/bare", "", bearerOf(one)).problem(403, "forbidden", "")
		a.call(method, "/v1/tenant", "", bearerOf(one)).problem(404, "not-found", "")
		a.call(method, "/v1/default", "", bearerOf(token(t, "alice"))).problem(404, "not-found", "")
	}
	for _, path := range []string{"/v1", "/v1/default"} {
		a.get(path, bearerOf(token(t, "alice"))).problem(404, "not-found", "")
		a.get(path, header("Authorization", "")).is(401)
	}
	b.call("DELETE", "/v1/tenant", "").is(204)
	b.call("DELETE", "/v1/tenant", "").problem(404, "not-found", "")
	a.get("/v1/tenant").problem(404, "not-found", "")
	a.call("PATCH", "/v1/tenant", `{}`).problem(404, "not-found", "")
}

func TestBadSettingsAreRefused(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		body   string
		status int
		field  string
	}{
		{`[]`, 422, ""},
		{`{"retention":"1h"}`, 422, "retention"},
		{`{"retention":-1}`, 422, "retention"},
		{`{"retention":1e300}`, 422, "retention"},
		{`{"retention":0.5}`, 422, "retention"},
		{`{"max_rooms_client":1.5}`, 422, "max_rooms_client"},
		{`{"public":"news"}`, 422, "public"},
		{`{"public":[1]}`, 422, "public"},
		{`{"public":[""]}`, 422, "public[0]"},
		{`{"emit_rate":-1}`, 422, "emit_rate"},
		{`{"Retention":1}`, 400, "Retention"},
		{`{"dedup":5,"dedup":5}`, 400, "dedup"},
		{`{"dedup":5`, 400, ""},
	} {
		for _, method := range []string{"PUT", "PATCH"} {
			slug := map[int]string{400: "malformed", 422: "invalid"}[c.status]
			s.call(method, "/v1/default", c.body).problem(c.status, slug, c.field)
		}
	}
	s.call("PUT", "/v1/default", `{}`, header("Content-Type", "text/plain")).is(415)
	s.call("PUT", "/v1/Bad", `{}`).problem(422, "invalid", "namespace")
}

// Streams and polls of a deleted namespace end, on the other instance, too. Clients that reconnect find an
// empty namespace.
func TestDeletionEndsStreams(t *testing.T) {
	a, b, _ := twoSites(t)
	a.post("/v1/tenant/emit", `{"room":"r","event":"e","data":"old"}`).is(201)
	st := b.stream("/v1/tenant/events?rooms=r&from=earliest")
	st.expect("culvert:hello")
	st.expect("e")
	polled := make(chan result)
	go func() { polled <- b.get("/v1/tenant/events?client=carol&wait=50") }()
	apitest.Until(t, func() bool {
		b.h.sessions.mu.Lock()
		defer b.h.sessions.mu.Unlock()
		return len(b.h.sessions.open) == 2
	})
	a.call("DELETE", "/v1/tenant", "").is(204)
	if f := st.expect("culvert:reconnect"); !strings.Contains(f.Data, `"expired"`) {
		t.Errorf("reason %s", f.Data)
	}
	st.ends()
	if p := (<-polled).page(); len(p.Events) != 0 || p.Gap != nil {
		t.Errorf("the long poll is answered with %+v", p)
	}
	b.post("/v1/tenant/emit", `{"room":"r","event":"e","data":"new"}`).is(201)
	for _, s := range []*site{a, b} {
		if got := s.get("/v1/tenant/rooms/r/events").page().data(); fmt.Sprint(got) != `["new"]` {
			t.Errorf("history %v", got)
		}
	}
}

func TestPublicHistory(t *testing.T) {
	s := newSite(t)
	s.call("PATCH", "/v1/default", `{"public":["news*","*"]}`).is(200)
	start := s.h.queue.Head().String()
	for _, room := range []string{"news", "@alice"} {
		for range 3 {
			s.emit(room, `1`)
		}
	}
	const public = "public, max-age=31536000, immutable"
	alice := bearerOf(token(t, "alice", "rooms:news"))
	path := "/v1/default/rooms/news/events?limit=2&after=" + start
	full := s.get(path, alice).is(200)
	tag := full.header.Get("ETag")
	if got := full.header.Get("Cache-Control"); got != public || tag == "" {
		t.Errorf("a full page: %q, ETag %q", got, tag)
	}
	if r := s.get(path, header("If-None-Match", tag)).is(304); r.header.Get("Cache-Control") != public || r.header.Get("ETag") != tag {
		t.Errorf("a 304 has the headers %v", r.header)
	}
	for _, path := range []string{
		"/v1/default/rooms/news/events?limit=2",                 // from the oldest
		"/v1/default/rooms/news/events?limit=4&after=" + start,  // not full
		path + "&client=bob", path + "&access_token=" + testKey, // about the caller
		"/v1/default/rooms/%40alice/events?limit=2&after=" + start, // a private room, which "*" does not open
	} {
		if got := s.get(path).is(200).header.Get("Cache-Control"); !strings.HasPrefix(got, "private") {
			t.Errorf("%s: %q", path, got)
		}
	}
	s.post("/v1/default/emit", `{"room":"news","event":"e","except":["@bob"]}`).is(201)
	if got := s.get("/v1/default/rooms/news/events?limit=4&after=" + start).is(200).header.Get("Cache-Control"); !strings.HasPrefix(got, "private") {
		t.Errorf("a page that depends on the reader: %q", got)
	}
	s.call("PATCH", "/v1/default", `{"public":null}`).is(200)
	if got := s.get(path).is(200).header.Get("Cache-Control"); !strings.HasPrefix(got, "private") {
		t.Errorf("a room that is no longer public: %q", got)
	}
}

// A namespace's own limit replaces the server's.
func TestRoomsOfAClientInANamespace(t *testing.T) {
	s := newSite(t)
	s.call("PUT", "/v1/tenant", `{"max_rooms_client":1}`).is(201)
	s.call("PUT", "/v1/tenant/rooms/a/clients/bob", "").is(200)
	s.call("PUT", "/v1/tenant/rooms/b/clients/bob", "").problem(422, "too-many-rooms", "room")
	s.call("PUT", "/v1/default/rooms/a/clients/bob", "").is(200)
	s.call("PUT", "/v1/default/rooms/b/clients/bob", "").is(200)
}

// TestTheListOfNamespacesIsPaged: the list of namespaces has pages, like other lists.
func TestTheListOfNamespacesIsPaged(t *testing.T) {
	s := newSite(t)
	for _, ns := range []string{"b", "a-1", "c", "a"} {
		s.call("PUT", "/v1/"+ns, "").is(201)
	}
	var got []string
	for after, more := "", true; more; {
		r := s.get("/v1?limit=2" + after).is(200).json()
		page, _ := r["namespaces"].([]any)
		for _, ns := range page {
			got = append(got, ns.(map[string]any)["namespace"].(string))
		}
		after = "&after=" + got[len(got)-1]
		if more = r["more"] == true; more && len(page) != 2 {
			t.Fatalf("a page of %d", len(page))
		}
	}
	if want := []string{"a", "a-1", "b", "c", "default"}; !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	s.get("/v1?limit=0").problem(400, "bad-parameter", "limit")
	s.get("/v1?after=A").problem(422, "invalid", "after")
}

// openapi.yaml has exactly the settings that exist, in requests and answers.
func TestTheContractHasEverySetting(t *testing.T) {
	doc, err := contract()
	if err != nil {
		t.Fatal(err)
	}
	for schema, others := range map[string]int{"NamespaceSettings": 0, "Namespace": 2} { // namespace and created_at
		properties := doc.Components.Schemas[schema].Value.Properties
		for _, s := range registry.AllSettings() {
			if properties[s.Name] == nil {
				t.Errorf("%s has no %s", schema, s.Name)
			}
		}
		if n := len(properties) - others; n != len(registry.AllSettings()) {
			t.Errorf("%s has %d settings, want %d", schema, n, len(registry.AllSettings()))
		}
	}
}
