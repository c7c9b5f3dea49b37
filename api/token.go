package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/queue"
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
	if _, err := queue.ParseClient(c.Subject); err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	if c.ExpiresAt == nil {
		return "", errors.New("sign token: no expiry")
	}
	for _, n := range c.Namespaces {
		if _, err := queue.ParseNamespace(n); err != nil {
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
	grant   *queue.Grant // of a stored key
	key     keyID        // of a backend
	// client it is, or acts for; zero for a backend that names none.
	client                  queue.Client
	expires                 time.Time // zero: never
	issued                  time.Time // of a token, if it says so; to the second
	namespaces, rooms, emit []string
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
func (c *caller) mayRead(r queue.Room) bool {
	return r == queue.Everyone || r == c.client.OwnRoom() || c.mayList(r)
}

// mayList reports whether the caller may see who is in the room. That everybody
// reads "*" does not show everybody to everybody.
func (c *caller) mayList(r queue.Room) bool {
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

// mayEmit reports whether the caller may emit to the room.
func (c *caller) mayEmit(r queue.Room) bool {
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
