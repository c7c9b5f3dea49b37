package auth

import (
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue/registry"
)

// Identity is who a request comes from.
type Identity struct {
	// Backend: an API key, to which everything is allowed; in its namespaces
	// when it is a stored one that has some, everywhere otherwise.
	Backend bool
	Grant   *registry.Grant // of a stored key; nil: it is none
	Key     KeyID           // of a backend
	// Client it is, or acts for; zero for a backend that names none.
	Client  event.Client
	Expires time.Time // zero: never
	// Namespaces are those it may use. Of a backend nil means all of them.
	Namespaces []string
	// Rooms are patterns of rooms that it may read, beside its own and "*".
	Rooms []string

	emit     []string     // patterns of rooms that it may emit to
	issued   time.Time    // of a token, if it says so; to the second
	verified verification // of a token
}

// EveryNamespace reports whether all namespaces are the caller's, those included that do not exist yet.
func (c *Identity) EveryNamespace() bool { return c.Backend && c.Namespaces == nil }

// Only are the namespaces of a backend that may not use every one; nil: it may.
// Errors: a name that is none, which Authority lets nobody have.
func (c *Identity) Only() ([]event.Namespace, error) {
	if c.EveryNamespace() {
		return nil, nil
	}
	only := make([]event.Namespace, 0, len(c.Namespaces))
	for _, name := range c.Namespaces {
		ns, err := event.ParseNamespace(name)
		if err != nil {
			return nil, err
		}
		only = append(only, ns)
	}
	return only, nil
}

// MayUse reports whether the namespace is the caller's.
func (c *Identity) MayUse(ns string) bool {
	if c.EveryNamespace() {
		return true
	}
	for _, n := range c.Namespaces {
		if n == ns {
			return true
		}
	}
	return false
}

// MayRead reports whether the caller may read the room.
func (c *Identity) MayRead(r event.Room) bool {
	return r == event.Everyone || r == c.Client.OwnRoom() || c.MayList(r)
}

// MayKeep tells for which rooms memberships hold that the caller's client made by its own
// token; nil: for all, as far as a backend is concerned.
func (c *Identity) MayKeep() func(event.Room) bool {
	if c.Backend {
		return nil
	}
	who := *c // the stream's caller changes
	return who.MayRead
}

// MayList reports whether the caller may see who is in the room. That everybody
// reads "*" does not show everybody to everybody.
func (c *Identity) MayList(r event.Room) bool {
	if c.Backend {
		return true
	}
	name := r.String()
	for _, p := range c.Rooms {
		if Opens(p, name) {
			return true
		}
	}
	return false
}

// MaySee is MayList for what a client also knows of itself.
func (c *Identity) MaySee(r event.Room) bool { return r == c.Client.OwnRoom() || c.MayList(r) }

// MayEmit reports whether the caller may emit to the room.
func (c *Identity) MayEmit(r event.Room) bool {
	if c.Backend {
		return true
	}
	for _, p := range c.emit {
		if matches(p, r.String()) {
			return true
		}
	}
	return false
}
