package api

import (
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue/registry"
)

// identity is who a request comes from.
type identity struct {
	// backend: an API key, to which everything is allowed; in its namespaces
	// when it is a stored one that has some, everywhere otherwise.
	backend bool
	grant   *registry.Grant // of a stored key
	key     keyID           // of a backend
	// client it is, or acts for; zero for a backend that names none.
	client                  event.Client
	expires                 time.Time // zero: never
	issued                  time.Time // of a token, if it says so; to the second
	namespaces, rooms, emit []string
	verified                verification // of a token
}

// everyNamespace reports whether all namespaces are the caller's, those included that do not exist yet.
func (c *identity) everyNamespace() bool { return c.backend && c.namespaces == nil }

// mayUse reports whether the namespace is the caller's.
func (c *identity) mayUse(ns string) bool {
	if c.everyNamespace() {
		return true
	}
	for _, n := range c.namespaces {
		if n == ns {
			return true
		}
	}
	return false
}

// mayRead reports whether the caller may read the room.
func (c *identity) mayRead(r event.Room) bool {
	return r == event.Everyone || r == c.client.OwnRoom() || c.mayList(r)
}

// mayKeep tells for which rooms memberships hold that the caller's client made by its own
// token; nil: for all, as far as a backend is concerned.
func (c *identity) mayKeep() func(event.Room) bool {
	if c.backend {
		return nil
	}
	who := *c // the stream's caller changes
	return who.mayRead
}

// mayList reports whether the caller may see who is in the room. That everybody
// reads "*" does not show everybody to everybody.
func (c *identity) mayList(r event.Room) bool {
	if c.backend {
		return true
	}
	name := r.String()
	for _, p := range c.rooms {
		if opens(p, name) {
			return true
		}
	}
	return false
}

// maySee is mayList for what a client also knows of itself.
func (c *identity) maySee(r event.Room) bool { return r == c.client.OwnRoom() || c.mayList(r) }

// mayEmit reports whether the caller may emit to the room.
func (c *identity) mayEmit(r event.Room) bool {
	if c.backend {
		return true
	}
	for _, p := range c.emit {
		if matches(p, r.String()) {
			return true
		}
	}
	return false
}
