package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue/registry"
)

// Claims are what a token says: its Subject is the client, ExpiresAt is
// required, and nbf and iat are respected where present.
type Claims struct {
	jwt.RegisteredClaims
	// Namespaces it is good for, a string or a list on the wire; absent: "default".
	Namespaces List `json:"ns,omitempty"`
	// Rooms are patterns of rooms it may read beside its own and "*". "*" in a
	// pattern matches any run of characters; the private rooms of other clients
	// need a pattern that begins with "@" itself.
	Rooms List `json:"rooms,omitempty"`
	// Emit are patterns of rooms it may emit to.
	Emit List `json:"emit,omitempty"`
}

// neverValid reports whether the token expires before it begins to count: waiting for
// such a token would be in vain. The claims must have an expiry.
func (c *Claims) neverValid() bool {
	for _, begin := range []*jwt.NumericDate{c.NotBefore, c.IssuedAt} {
		if begin != nil && !begin.Before(c.ExpiresAt.Time) {
			return true
		}
	}
	return false
}

// List is a list of strings; on the wire it may be a single one.
type List []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *List) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*l = List{""}
		return json.Unmarshal(b, &(*l)[0])
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// SignToken makes an HS256 token of the claims.
func SignToken(secret []byte, c Claims) (string, error) {
	if len(secret) == 0 {
		return "", errors.New("sign token: no secret")
	}
	if _, err := event.ParseClient(c.Subject); err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	if c.ExpiresAt == nil {
		return "", errors.New("sign token: no expiry")
	}
	if c.neverValid() {
		return "", errors.New("sign token: it would never be valid: ExpiresAt is not after NotBefore and IssuedAt")
	}
	for _, n := range c.Namespaces {
		if _, err := event.ParseNamespace(n); err != nil {
			return "", fmt.Errorf("sign token: %w", err)
		}
	}
	for name, list := range map[string]List{"ns": c.Namespaces, "rooms": c.Rooms, "emit": c.Emit} {
		if err := list.check(name); err != nil {
			return "", fmt.Errorf("sign token: %w", err)
		}
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(secret)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return token, nil
}

// caller is who a request comes from.
type caller struct {
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

// mayUse reports whether the namespace is the caller's.
func (c *caller) mayUse(ns string) bool {
	if c.backend && c.namespaces == nil {
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
func (c *caller) mayRead(r event.Room) bool {
	return r == event.Everyone || r == c.client.OwnRoom() || c.mayList(r)
}

// mayKeep tells for which rooms memberships hold that the caller's client made by its own
// token; nil: for all, as far as a backend is concerned.
func (c *caller) mayKeep() func(event.Room) bool {
	if c.backend {
		return nil
	}
	who := *c // the stream's caller changes
	return who.mayRead
}

// mayList reports whether the caller may see who is in the room. That everybody
// reads "*" does not show everybody to everybody.
func (c *caller) mayList(r event.Room) bool {
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
func (c *caller) maySee(r event.Room) bool { return r == c.client.OwnRoom() || c.mayList(r) }

// mayEmit reports whether the caller may emit to the room.
func (c *caller) mayEmit(r event.Room) bool {
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
