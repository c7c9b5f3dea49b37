package auth

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue/registry"
)

// Identity is who a request comes from.
type Identity struct {
	// Backend says that the sender has an API key, which may do everything: in its namespaces if it is a stored
	// key that has some, and in all namespaces otherwise.
	Backend bool
	Grant   *registry.Grant // of a stored key; nil: this is not a stored key
	Key     KeyID           // of a backend
	// Client is the client that the sender is or acts for; zero for a backend that acts for none.
	Client  event.Client
	Expires time.Time // zero: never
	// Namespaces are those that the sender may use. nil means all of them for a backend, and none for a client.
	Namespaces []string
	// Rooms are patterns of rooms that the sender may read, in addition to its own room and "*".
	Rooms []string

	emit     []string     // patterns of rooms that the sender may emit to
	issued   time.Time    // when the token was issued, in whole seconds; zero: the token does not say
	verified verification // what the token was verified with
}

// verification is the algorithm and the key that verified a token.
type verification struct {
	algorithm string
	key       jwt.VerificationKey
}

// EveryNamespace reports whether the caller may use all namespaces, including those that do not exist yet.
func (c *Identity) EveryNamespace() bool { return c.Backend && c.Namespaces == nil }

// Only returns the namespaces of a backend that may not use all of them; nil: it may use all.
// Errors: one of the names is not valid, which cannot be if Authority made the Identity.
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

// MayUse reports whether the caller may use the namespace.
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
	return r == event.Everyone() || r == c.Client.OwnRoom() || c.MayList(r)
}

// MayKeep returns a function that reports for which rooms the memberships count that the client made with its
// own token; nil: for all rooms, since this is a backend.
func (c *Identity) MayKeep() func(event.Room) bool {
	if c.Backend {
		return nil
	}
	who := *c // a copy: the Identity of a stream changes when it is renewed
	return who.MayRead
}

// Rights returns a text that is the same for two callers of one client if they may read the same rooms.
func (c *Identity) Rights() string {
	if c.Backend {
		return "backend"
	}
	return fmt.Sprintf("token %q", c.Rooms)
}

// MayList reports whether the caller may see who is in the room. Everybody may read "*", but not everybody may
// list its members.
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

// MaySee reports whether the caller may see who is in the room; a client may always see that of its own room.
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

// KeyID identifies a backend's key, or the namespaces of a token that is valid for several. Zero means neither.
type KeyID [8]byte

// KeyOf returns the id of a key: a part of its digest, which does not reveal the key.
func KeyOf(secret string) (id KeyID) {
	digest := sha256.Sum256([]byte(secret))
	copy(id[:], digest[:])
	return id
}
