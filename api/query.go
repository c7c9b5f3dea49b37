package api

import (
	"slices"
	"strings"
)

// commonParameters are taken by every route that takes a namespace: the credentials,
// whom an API key acts for, and what makes an address new to caches. A value of "_"
// means nothing.
var commonParameters = []string{"access_token", "client", "_"}

// startParameters are spellings of one parameter, the cursor to start after, the one that
// wins first: event-source-polyfill adds lastEventId to a URL that may have another one.
var startParameters = []string{"lastEventId", "last_event_id", "after"}

// routeParameters are what else a route takes in its query string. A misspelled
// "rooms" would show all that a client receives, so everything else is refused.
var routeParameters = map[string][]string{
	"GET /v1":                         {"after", "limit"},
	"POST " + emitRoute:               {"wait"},
	"GET " + eventsRoute:              append([]string{"from", "ack", "rooms", "wait", "limit"}, startParameters...),
	"GET /v1/:ns/rooms":               {"after", "limit"},
	"GET /v1/:ns/rooms/:room/events":  {"after", "limit"},
	"GET /v1/:ns/rooms/:room/clients": {"after", "limit"},
}

// parametersOf lists what a route takes.
func parametersOf(method, path string) []string {
	common := commonParameters
	if path == namespacesRoute {
		common = []string{"access_token", "_"} // it has no clients
	}
	return slices.Concat(common, routeParameters[method+" "+path])
}

// check refuses what the route does not take, and two values where it takes one: of
// these, neither is known to be meant.
func (q query) check(method, path string) error {
	if len(q.values) == 0 {
		return nil
	}
	taken := parametersOf(method, path)
	names := make([]string, 0, len(q.values))
	for name := range q.values {
		names = append(names, name)
	}
	slices.Sort(names) // the same request gets the same answer
	for _, name := range names {
		switch {
		case !slices.Contains(taken, name):
			return refuse(badParameter, clip(name), "there is no such query parameter here; this route takes "+strings.Join(taken, ", "))
		case len(q.values[name]) > 1 && name != "rooms" && name != "_":
			return repeated(name)
		}
	}
	return nil
}

func repeated(name string) error {
	return refuse(badParameter, name, "duplicate parameter")
}
