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

// Caller is who sent a request, as the application's own authentication says: see
// Options.Authenticate. The zero Caller is nobody.
type Caller struct {
	// Client it is: the durable identity (a device or tab, not a person with several) that owns a
	// cursor and memberships. Required of a caller that is no Backend. A Backend acts for
	// it where the request names no other one with ?client=.
	Client event.Client
	// Backend has every room and client of its namespaces, as an API key does.
	Backend bool
	// Name tells one Backend from another: what each has under way is bounded for itself.
	Name string
	// Namespaces it may use; none: "default".
	Namespaces []event.Namespace
	// EveryNamespace opens all to a Backend, which may then also make and delete them.
	EveryNamespace bool
	// Rooms are patterns of rooms that a client may join, read and see the members of, beside its
	// own and "*", which it reads. "*" in a pattern matches any run of characters; the private
	// rooms of other clients need a pattern that begins with "@" itself.
	Rooms []string
	// Emit are patterns of rooms that a client may emit to; none: nowhere.
	Emit []string
	// Expires is when this stops being true: open streams then end with culvert:reconnect and reason
	// expired, and whoever comes back is asked for anew. Zero: never.
	Expires time.Time
	// Issued is when the client logged in. Registry.Revoke refuses what was issued before, and ends
	// its streams: that is how to log out. Zero: a client that was ever revoked is refused.
	Issued time.Time
}

// What Options.Authenticate refuses with. The client is shown the text of an error that wraps one of them.
var (
	// ErrUnauthorized is answered with 401: the request has no credentials, or bad ones.
	ErrUnauthorized = errors.New("the application does not accept the credentials of this request")
	// ErrForbidden is answered with 403: it is known who asks, and they may not use Culvert.
	ErrForbidden = errors.New("the application does not allow this")
)

// authenticate asks the application who sent the request.
func authenticate(ask func(*http.Request) (Caller, error), r *http.Request) (Identity, error) {
	if fromAnotherSite(r) {
		return Identity{}, wire.Refuse(wire.Forbidden, "", "a page of another site sent this with a cookie")
	}
	headers := *r
	headers.Body = http.NoBody // what is in it is for the handlers, which bound its time and size
	c, err := ask(&headers)
	if err != nil {
		return Identity{}, notAuthenticated(r, err)
	}
	return c.identity()
}

// fromAnotherSite reports whether a browser says that a page of another site made it send a cookie. Such a page may
// not read the answer, since CORS here never allows cookies; but a GET can acknowledge, too.
func fromAnotherSite(r *http.Request) bool {
	return len(r.Header["Cookie"]) > 0 && r.Header.Get("Sec-Fetch-Site") == "cross-site"
}

// notAuthenticated is what an error of the application is answered with. What it does not say on purpose
// is internal, also where it wraps an error that means something here.
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

// identity checks what the application says: a mistake in it is internal.
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
