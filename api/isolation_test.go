package api

import (
	"net/http"
	"testing"
)

// isolated has, for every route with credentials, a valid request for the client alice in the namespace
// default. other says that the request names a client: a token of another client must not learn whether alice
// exists.
var isolated = map[string]struct {
	path, body string
	other      bool
}{
	"GET /v1":                                    {"/v1", "", true},
	"GET /v1/:ns":                                {"/v1/default", "", true},
	"PUT /v1/:ns":                                {"/v1/default", "{}", true},
	"PATCH /v1/:ns":                              {"/v1/default", "{}", true},
	"DELETE /v1/:ns":                             {"/v1/default", "", true},
	"POST /v1/:ns/emit":                          {"/v1/default/emit?client=alice", `{"event":"e"}`, true},
	"POST /v1/:ns/reply":                         {"/v1/default/reply?client=alice", `{"offset":1}`, true},
	"POST /v1/:ns/ack":                           {"/v1/default/ack?client=alice", `{"cursor":"a:1"}`, true},
	"POST /v1/:ns/token":                         {"/v1/default/token?client=alice", "", true},
	"GET /v1/:ns/events":                         {"/v1/default/events?client=alice&wait=0", "", true},
	"GET /v1/:ns/rooms":                          {"/v1/default/rooms", "", false},
	"GET /v1/:ns/rooms/:room/events":             {"/v1/default/rooms/@alice/events?client=alice", "", true},
	"GET /v1/:ns/rooms/:room/clients":            {"/v1/default/rooms/lobby/clients?client=alice", "", true},
	"PUT /v1/:ns/rooms/:room/clients/:client":    {"/v1/default/rooms/lobby/clients/alice", "", true},
	"DELETE /v1/:ns/rooms/:room/clients/:client": {"/v1/default/rooms/lobby/clients/alice", "", true},
	"GET /v1/:ns/clients/:client":                {"/v1/default/clients/alice", "", true},
	"POST /v1/:ns/clients/:client/revoke":        {path: "/v1/default/clients/alice/revoke", other: true},
	"DELETE /v1/:ns/clients/:client":             {"/v1/default/clients/alice", "", true},
}

// unguarded are the routes without credentials.
var unguarded = map[string]bool{"/livez": true, "/readyz": true, "/openapi.yaml": true, "/problems/:slug": true}

// TestIsolation: to a token of another namespace or client, each route answers as if nothing existed, whether
// or not something does. A new route needs a row.
func TestIsolation(t *testing.T) {
	s := newSite(t)
	s.call("PUT", "/v1/default/rooms/lobby/clients/alice", "").is(http.StatusOK)
	everything := []string{"rooms:*", "emit:*"}
	elsewhere := bearerOf(token(t, "alice", append(everything, "ns:elsewhere")...))
	bob := bearerOf(token(t, "bob", everything...))
	shape := s.get("/v1/default/nothing/here").problem(404, "not-found", "").body

	for _, r := range s.h.echo.Routes() {
		row, ok := isolated[r.Method+" "+r.Path]
		switch {
		case unguarded[r.Path]:
			continue
		case !ok:
			t.Errorf("%s %s has no row", r.Method, r.Path)
			continue
		}
		for who, o := range map[string]option{"another namespace": elsewhere, "another client": bob} {
			if who == "another client" && !row.other {
				continue
			}
			if got := s.call(r.Method, row.path, row.body, o); got.status != 404 || got.body != shape {
				t.Errorf("%s %s with a token of %s: %d %s", r.Method, row.path, who, got.status, got.body)
			}
		}
		// The answer must not depend on what exists.
		if got := s.call(r.Method, row.path, row.body, header("Authorization", "")); got.status != 401 {
			t.Errorf("%s %s without credentials: %d", r.Method, row.path, got.status)
		}
	}
	s.get("/v1/default/clients/alice").is(http.StatusOK) // alice has not been changed
}
