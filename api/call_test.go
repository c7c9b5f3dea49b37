package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestUnknownParametersAreRefused: if ?room=lobby were ignored, a client would receive all its events and not
// only those of the room.
func TestUnknownParametersAreRefused(t *testing.T) {
	s := newSite(t)
	alice := bearerOf(token(t, "alice", "rooms:*", "emit:*"))
	cursor := s.emit("lobby", "1")
	for _, c := range []struct{ method, path, field string }{
		{"GET", "/v1/default/events?wait=0&room=lobby", "room"},
		{"GET", "/v1/default/events?wait=0&Rooms=lobby", "Rooms"},
		{"GET", "/v1/default/events?wait=0&last-event-id=x", "last-event-id"},
		{"GET", "/v1/default/rooms/lobby/events?from=earliest", "from"},
		{"GET", "/v1/default/rooms/lobby/events?lastEventId=" + cursor, "lastEventId"},
		{"GET", "/v1/default/rooms/lobby/clients?wait=1", "wait"},
		{"GET", "/v1/default/clients/me?limit=1", "limit"},
		{"PUT", "/v1/default/rooms/lobby/clients/me?room=x", "room"},
		{"DELETE", "/v1/default/rooms/lobby/clients/me?until=x", "until"},
		{"POST", "/v1/default/emit?key=k", "key"},
		{"POST", "/v1/default/ack?cursor=x", "cursor"},
		{"POST", "/v1/default/reply?wait=1", "wait"},
		{"POST", "/v1/default/token?ttl=5", "ttl"},
		{"GET", "/v1/default/clients/me?b=1&a=2&=3", ""},
	} {
		s.call(c.method, c.path, "", alice).problem(400, "bad-parameter", c.field)
	}
	for _, c := range []struct{ method, path, field string }{
		{"GET", "/v1?client=alice", "client"},
		{"GET", "/v1?online=true", "online"},
		{"GET", "/v1/default?pretty", "pretty"},
		{"PUT", "/v1/default?retention=5", "retention"},
		{"PATCH", "/v1/default?dedup=5", "dedup"},
		{"DELETE", "/v1/never-made?force=1", "force"},
		{"GET", "/v1/default/rooms?prefix=a", "prefix"},
		{"DELETE", "/v1/default/clients/bob?event=true", "event"},
		{"POST", "/v1/default/clients/bob/revoke?at=1", "at"},
	} {
		s.call(c.method, c.path, "").problem(400, "bad-parameter", c.field)
	}
	// 401 and 404 come first; an unknown route reveals nothing.
	s.get("/v1/default/events?room=x", bearerOf("bad")).problem(401, "unauthorized", "")
	s.get("/v1/other/events?room=x", alice).problem(404, "not-found", "")
	s.get("/v1/default/nothing?room=x", alice).problem(404, "not-found", "")
}

func TestRepeatedParametersAreRefused(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{
		"/v1/default/events?client=a&client=a", "/v1/default/rooms?limit=1&limit=1", "/v1?limit=1&limit=2",
		"/v1/default/rooms/r/events?after=x&after=x", "/v1/default/events?client=a&from=earliest&from=earliest",
		"/v1/default/clients/a?access_token=x&access_token=x",
	} {
		name := path[strings.LastIndex(path, "&")+1 : strings.LastIndex(path, "=")]
		s.get(path).problem(400, "bad-parameter", name)
	}
	s.get("/v1/default/events?rooms=a&rooms=b&wait=0&_=1&_=2").is(200)
	s.get("/v1?_=1&_=2").is(200)
}

// TestSpellingsOfTheStart: the cursor that an EventSource adds wins over the one in its original URL.
func TestSpellingsOfTheStart(t *testing.T) {
	s := newSite(t)
	a, b := s.emit("r", "1"), s.emit("r", "2")
	s.emit("r", "3")
	for _, query := range []string{
		"last_event_id=" + b + "&after=" + a, "lastEventId=" + b + "&after=" + a, "lastEventId=" + b + "&last_event_id=" + a,
		"after=" + b, "last_event_id=" + b, "lastEventId=&after=" + b,
	} {
		if p := s.get("/v1/default/events?rooms=r&wait=0&" + query).page(); !slices.Equal(p.data(), []string{"3"}) {
			t.Errorf("%s: events %v", query, p.data())
		}
	}
	for query, field := range map[string]string{
		"lastEventId=nonsense": "lastEventId", "lastEventId=" + a + "&after=nonsense": "after",
		"lastEventId=" + a + "&lastEventId=": "lastEventId", "after=": "after",
	} {
		s.get("/v1/default/events?rooms=r&wait=0&"+query).problem(400, "bad-parameter", field)
	}
	// event-source-polyfill sends its cursor like this when it reconnects.
	if p := s.get("/v1/default/events?rooms=r&wait=0&from=earliest&lastEventId=" + a).page(); !slices.Equal(p.data(), []string{"2", "3"}) {
		t.Errorf("events %v", p.data())
	}
}

// TestProbesIgnoreTheirQuery: probes have no parameters that could be misspelled, and a parameter that a
// balancer adds must not take an instance out of service.
func TestProbesIgnoreTheirQuery(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/livez?verbose", "/readyz?verbose", "/openapi.yaml?v=2", "/problems/invalid?lang=en"} {
		res, err := s.client.Do(s.request(t.Context(), "GET", path, ""))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
}

// TestContractListsParameters compares the parameters of each route with its description.
func TestContractListsParameters(t *testing.T) {
	doc, err := contract()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		if !strings.HasPrefix(path, "/v1") {
			continue
		}
		for method, operation := range item.Operations() {
			described := []string{"access_token"} // a security scheme
			for _, p := range slices.Concat(item.Parameters, operation.Parameters) {
				if p.Value.In == "query" {
					described = append(described, p.Value.Name)
				}
			}
			taken := parametersOf(method, strings.NewReplacer("{", ":", "}", "").Replace(path))
			slices.Sort(described)
			slices.Sort(taken)
			if !slices.Equal(described, taken) {
				t.Errorf("%s %s takes %q and is described to take %q", method, path, taken, described)
			}
		}
	}
	h, err := newHandler(inMemory(&memory{}), Options{APIKeys: []string{testKey}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	served := map[string]bool{}
	for _, r := range h.echo.Routes() {
		served[r.Method+" "+r.Path] = true
	}
	for route := range routeParameters {
		if !served[route] {
			t.Errorf("parameters of %s, which is not served", route)
		}
	}
}

// If a single-value header comes twice, a proxy may have acted on the other value: the request is refused.
func TestRepeatedHeadersAreRefused(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}))
	twice := func(name string, values ...string) option {
		return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = values }
	}
	const event = `{"room":"r","event":"e"}`
	for _, values := range [][]string{{"Bearer " + testKey, "Bearer bad"}, {"Bearer bad", "Bearer " + testKey}, {"Bearer " + testKey, "Bearer " + testKey}, {"", "Bearer " + testKey}} {
		for _, path := range []string{"/v1", "/v1/default/rooms"} {
			s.get(path, twice("Authorization", values...)).problem(401, "unauthorized", "")
		}
	}
	s.post("/v1/default/emit", event, twice("Content-Type", "application/json", "application/x-ndjson")).problem(400, "bad-parameter", "Content-Type")
	s.post("/v1/default/emit", event, twice("Content-Encoding", "", "gzip")).problem(400, "bad-parameter", "Content-Encoding")
	s.get("/v1/default/events?wait=0&client=x", twice("Last-Event-ID", "", "log:1")).problem(400, "bad-parameter", "Last-Event-Id")
	s.get("/v1", twice("Last-Event-ID", "", "log:1")).problem(400, "bad-parameter", "Last-Event-Id")
	s.post("/v1/default/emit", event, twice("Idempotency-Key", "a", "b")).problem(422, "invalid", "key")
	s.post("/v1/default/emit", event).is(201)
}
