package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/api/visit"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
)

// call is one admitted request, as the handlers see it.
type call struct {
	w     http.ResponseWriter // remembers the status, for metrics
	r     *http.Request
	ctl   *http.ResponseController
	visit *visit.Visit
	who   auth.Identity
	ns    event.Namespace
	query query
	quota event.RoomQuota
	path  interface{ Param(name string) string }
}

// context returns the request's context, which also says for which client something is read.
func (c *call) context() context.Context { return queue.For(c.r.Context(), c.who.Client) }

// param returns a part of the path, unescaped. Echo matches the escaped path if unescaping would lose something
// (RawPath is then set), and the unescaped path otherwise. A "/" in a part comes from Echo's last parameter,
// which takes the whole rest of the path: there is no such route.
func (c *call) param(name string) (string, error) {
	s := c.path.Param(name)
	if strings.Contains(s, "/") {
		return "", wire.Refuse(wire.NotFound, "", wire.NothingHere)
	}
	if c.r.URL.RawPath == "" {
		return s, nil
	}
	s, err := url.PathUnescape(s)
	if err != nil {
		return "", wire.Refuse(wire.BadParameter, name, "the path is not percent-encoded correctly")
	}
	return s, nil
}

// needClient refuses a backend that named no client.
func (c *call) needClient(field, why string) error {
	if c.who.Client == (event.Client{}) {
		return wire.Refuse(wire.BadParameter, field, why)
	}
	return nil
}

// query is a request's query string.
type query struct{ values url.Values }

// one returns a parameter, and refuses a duplicate, since it cannot know which value is meant.
func (q query) one(name string) (value string, given bool, err error) {
	values := q.values[name]
	switch len(values) {
	case 0:
		return "", false, nil
	case 1:
		return values[0], true, nil
	}
	return "", true, repeated(name)
}

// check refuses parameters that the route does not take, and duplicates, since it cannot know which value is
// meant.
func (q query) check(method, path string) error {
	if len(q.values) == 0 {
		return nil
	}
	taken := parametersOf(method, path)
	names := make([]string, 0, len(q.values))
	for name := range q.values {
		names = append(names, name)
	}
	slices.Sort(names) // so that the same request gets the same answer
	for _, name := range names {
		switch {
		case !slices.Contains(taken, name):
			return wire.Refuse(wire.BadParameter, wire.Clip(name), "unknown query parameter; this route takes "+strings.Join(taken, ", "))
		case len(q.values[name]) > 1 && name != "rooms" && name != "_":
			return repeated(name)
		}
	}
	return nil
}

func repeated(name string) error {
	return wire.Refuse(wire.BadParameter, name, "duplicate parameter")
}

// cursor reads a parameter that is a cursor; zero when it is absent.
func (q query) cursor(name string) (event.Cursor, error) {
	text, given, err := q.one(name)
	if err != nil || !given {
		return event.Cursor{}, err
	}
	return parseCursor(name, text)
}

func parseCursor(field, text string) (event.Cursor, error) {
	c, err := event.ParseCursor(text)
	if err != nil {
		return c, wire.Refuse(wire.BadParameter, field, err.Error())
	}
	return c, nil
}

// Limits on a page of events.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// limit reads how many events an answer may hold.
func (q query) limit() (int, error) {
	text, given, err := q.one("limit")
	if err != nil || !given {
		return defaultLimit, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n < 1 || n > maxLimit {
		return 0, wire.Refuse(wire.BadParameter, "limit", "want a number from 1 to 1000")
	}
	return int(n), nil
}

const defaultWait = 25 * time.Second

// wait reads how long a long poll may be held, at most longest. A bad parameter is an error. Prefer (RFC 7240)
// is only a wish, so a bad one is ignored, and applied says whether it was followed.
func (c *call) wait(longest time.Duration) (wait time.Duration, applied bool, err error) {
	text, given, err := c.query.one("wait")
	if err != nil {
		return 0, false, err
	}
	if given {
		wait, ok := parseSeconds(text)
		if !ok || wait > maxWait {
			return 0, false, wire.Refuse(wire.BadParameter, "wait", "want seconds from 0 to 50")
		}
		return min(wait, longest), false, nil
	}
	if wait, ok := preferredWait(c.r.Header); ok {
		return min(wait, longest), true, nil
	}
	return min(defaultWait, longest), false, nil
}

// parseSeconds reads digits with an optional decimal fraction. It refuses the rest of what ParseFloat accepts:
// signs, exponents, Inf, NaN.
func parseSeconds(s string) (time.Duration, bool) {
	if len(s) == 0 || len(s) > 12 || s[0] == '.' || s[len(s)-1] == '.' {
		return 0, false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && c != '.' {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f > 1e6 {
		return 0, false
	}
	return time.Duration(f * float64(time.Second)), true
}

// preferredWait finds wait=N in the Prefer headers.
func preferredWait(h http.Header) (time.Duration, bool) {
	for _, line := range h.Values("Prefer") {
		for preference := range strings.SplitSeq(line, ",") {
			preference, _, _ = strings.Cut(preference, ";")
			name, value, _ := strings.Cut(preference, "=")
			if strings.EqualFold(strings.TrimSpace(name), "wait") {
				return parseSeconds(strings.Trim(strings.TrimSpace(value), `"`))
			}
		}
	}
	return 0, false
}

// maxRooms bounds the rooms of one event and of one ad hoc subscription.
const maxRooms = 100

// rooms reads an ad hoc subscription's rooms. Given once, the parameter is a comma-separated list. Given
// several times, each value is one name, which may contain a comma. (For a single such name, give it twice.)
func (q query) rooms() ([]event.Room, error) {
	names := q.values["rooms"]
	if len(names) == 1 {
		names = strings.Split(names[0], ",")
	}
	if len(names) > maxRooms {
		return nil, wire.Refuse(wire.BadParameter, "rooms", "at most 100 rooms")
	}
	var rooms []event.Room
	for _, name := range names {
		r, err := event.ParseRoom(name)
		if err != nil {
			return nil, wire.InField(err, "rooms")
		}
		rooms = append(rooms, r)
	}
	return rooms, nil
}
