package api

import (
	"net/http"
	"slices"
	"strings"
)

// Routes that several files name.
const (
	namespacesRoute = "/v1"
	namespaceRoute  = "/v1/:ns"
	emitRoute       = "/v1/:ns/emit"
	eventsRoute     = "/v1/:ns/events"
)

// asksCredentials reports whether the route of a request needs credentials. admit checks later whether they are
// good.
func asksCredentials(r *http.Request) bool {
	path := r.URL.Path
	return r.Method != http.MethodOptions && (path == namespacesRoute || strings.HasPrefix(path, namespacesRoute+"/"))
}

// bodyRoutes are the routes that read a body. All others refuse one.
var bodyRoutes = map[string]bool{
	"PUT " + namespaceRoute:   true,
	"PATCH " + namespaceRoute: true,
	"POST " + emitRoute:       true,
	"POST /v1/:ns/reply":      true,
	"POST /v1/:ns/ack":        true,
}

// commonParameters are accepted by every route of a namespace: the credentials, the client that an API key acts
// for, and "_", which is ignored: a new value of it makes an address that no cache has.
var commonParameters = []string{"access_token", "client", "_"}

// startParameters are names of one parameter, the cursor to start after. The earlier name wins:
// event-source-polyfill adds lastEventId to a URL that may have one of the others.
var startParameters = []string{"lastEventId", "last_event_id", "after"}

// routeParameters are the other parameters of each route. All others are refused: with a misspelled "rooms" a
// caller would receive everything that its client may.
var routeParameters = map[string][]string{
	"GET /v1":                         {"after", "limit"},
	"POST " + emitRoute:               {"wait"},
	"GET " + eventsRoute:              append([]string{"from", "ack", "rooms", "wait", "limit"}, startParameters...),
	"GET /v1/:ns/rooms":               {"after", "limit"},
	"GET /v1/:ns/rooms/:room/events":  {"after", "limit"},
	"GET /v1/:ns/rooms/:room/clients": {"after", "limit"},
}

// parametersOf returns the parameters of a route.
func parametersOf(method, path string) []string {
	common := commonParameters
	if path == namespacesRoute {
		common = []string{"access_token", "_"} // this route is not about a client
	}
	return slices.Concat(common, routeParameters[method+" "+path])
}
