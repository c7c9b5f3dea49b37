package auth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// Caller is who sent a request, as the application's own authentication says: see Options.Authenticate. The
// zero Caller is invalid.
type Caller struct {
	// Client is the durable identity that owns a cursor and memberships: a device or a tab, not a person who
	// has several. Required unless Backend is set. A Backend acts for Client when the request has no ?client=.
	Client event.Client
	// Backend may use every room and client of its namespaces, as an API key may.
	Backend bool
	// Name tells one Backend from another: each name has limits of its own on requests under way.
	Name string
	// Namespaces are those that the caller may use; empty: "default".
	Namespaces []event.Namespace
	// EveryNamespace lets a Backend use all namespaces, and make and delete them.
	EveryNamespace bool
	// Rooms are patterns of rooms that a client may join and read, and whose members it may list. It may always
	// read its own room and "*". "*" in a pattern matches any run of characters; the private rooms of other
	// clients need a pattern that itself begins with "@".
	Rooms []string
	// Emit are patterns of rooms that a client may emit to; empty: to none.
	Emit []string
	// Expires is when the caller loses these rights: open streams then end with culvert:reconnect and reason
	// expired, and Authenticate is called again when the client reconnects. Zero: never.
	Expires time.Time
	// Issued is when the client logged in. Registry.Revoke ends the streams of callers that were issued before
	// it, and refuses their requests: use it to log a client out. Zero: a client that was ever revoked is
	// refused.
	Issued time.Time
}

// These are the errors with which Options.Authenticate refuses a request. The client is shown the text of an
// error that wraps one of them.
var (
	// ErrUnauthorized is answered with 401: the request has no credentials, or bad ones.
	ErrUnauthorized = errors.New("the application does not accept the credentials of this request")
	// ErrForbidden is answered with 403: the sender is known, but may not use Culvert.
	ErrForbidden = errors.New("the application does not allow this")
)

// authenticate asks the application who sent the request.
func authenticate(ask func(*http.Request) (Caller, error), r *http.Request) (Identity, error) {
	if fromAnotherSite(r) {
		return Identity{}, wire.Refuse(wire.Forbidden, "", "a page of another site sent this request with a cookie")
	}
	headers := *r
	headers.Body = http.NoBody // only the handlers read the body: they bound its time and size
	c, err := ask(&headers)
	if err != nil {
		return Identity{}, notAuthenticated(r, err)
	}
	return c.identity()
}

// fromAnotherSite reports whether a browser says that a page of another site made it send this request with a
// cookie. Such a page cannot read the answer, since CORS here never allows cookies; but the request itself may
// change something: even a GET can acknowledge.
func fromAnotherSite(r *http.Request) bool {
	return len(r.Header["Cookie"]) > 0 && r.Header.Get("Sec-Fetch-Site") == "cross-site"
}

// notAuthenticated turns an error of the application into the error of the request. Only ErrUnauthorized,
// ErrForbidden and event.ErrUnavailable keep their meaning; any other is internal, even if it wraps an error
// that means something in this package.
func notAuthenticated(r *http.Request, err error) error {
	switch {
	case errors.Is(err, ErrUnauthorized):
		return wire.Refuse(wire.Unauthorized, "", err.Error())
	case errors.Is(err, ErrForbidden):
		return wire.Refuse(wire.Forbidden, "", err.Error())
	case errors.Is(err, event.ErrUnavailable):
		return fmt.Errorf("authenticate: %w", err)
	case r.Context().Err() != nil:
		return r.Context().Err()
	}
	return errors.New("authenticate: " + err.Error())
}

// identity checks the Caller that the application returned, and makes an Identity from it. A mistake in it is an
// internal error.
func (c *Caller) identity() (Identity, error) {
	switch {
	case !c.Backend && c.Client == event.Client{}:
		return Identity{}, errors.New("authenticate: the Caller has neither Client nor Backend, and no error says why")
	case c.EveryNamespace && !c.Backend:
		return Identity{}, errors.New("authenticate: the Caller has EveryNamespace, which only a Backend may have")
	case !c.Expires.IsZero() && !time.Now().Before(c.Expires):
		return Identity{}, badToken("the credentials have expired")
	}
	for name, list := range map[string][]string{"Rooms": c.Rooms, "Emit": c.Emit} {
		if err := List(list).check(name); err != nil {
			return Identity{}, fmt.Errorf("authenticate: the Caller's %w", err)
		}
	}
	who := Identity{
		Backend: c.Backend, Client: c.Client, Expires: c.Expires, issued: c.Issued,
		Rooms: slices.Clone(c.Rooms), emit: slices.Clone(c.Emit), // a stream outlives the request
	}
	if c.Backend {
		who.Key = KeyOf("application " + c.Name)
	}
	if !c.EveryNamespace {
		who.Namespaces = namesOf(c.Namespaces)
	}
	return who, nil
}

func namesOf(namespaces []event.Namespace) []string {
	if len(namespaces) == 0 {
		return []string{"default"}
	}
	names := make([]string, len(namespaces))
	for i, ns := range namespaces {
		names[i] = ns.String()
	}
	return names
}
