package auth

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// Claims are the claims of a token: Subject is the client, ExpiresAt is required, and NotBefore and IssuedAt
// are checked if present.
type Claims struct {
	jwt.RegisteredClaims
	// Namespaces are those that the token is for, on the wire a string or a list; absent: "default".
	Namespaces List `json:"ns,omitempty"`
	// Rooms are patterns of rooms that the client may read, in addition to its own room and "*". "*" in a
	// pattern matches any run of characters; the private rooms of other clients need a pattern that itself
	// begins with "@".
	Rooms List `json:"rooms,omitempty"`
	// Emit are patterns of rooms that the client may emit to.
	Emit List `json:"emit,omitempty"`
}

// neverValid reports whether the token expires before it becomes valid: then it is useless to wait for it. The
// claims must have an expiry.
func (c *Claims) neverValid() bool {
	for _, begin := range []*jwt.NumericDate{c.NotBefore, c.IssuedAt} {
		if begin != nil && !begin.Before(c.ExpiresAt.Time) {
			return true
		}
	}
	return false
}

// List is a list of strings. In a token a single string counts as a list of one.
type List []string

// Bounds of a token's lists. Each room of a request is compared with each pattern.
const (
	MaxPatterns      = 256 // in each of "ns", "rooms" and "emit"
	MaxPatternLength = 256 // bytes
)

// check returns an error if the list is too long, or one of its entries is.
func (l List) check(name string) error {
	if len(l) > MaxPatterns {
		return fmt.Errorf("%q has %d entries, the limit is %d", name, len(l), MaxPatterns)
	}
	for _, p := range l {
		if len(p) > MaxPatternLength {
			return fmt.Errorf("%q has an entry of %d bytes, the limit is %d", name, len(p), MaxPatternLength)
		}
	}
	return nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *List) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*l = List{""}
		return json.Unmarshal(b, &(*l)[0])
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// SignToken makes an HS256 token with the claims.
// Errors: secret is empty, or the claims are incomplete, wrong or could never be valid.
func SignToken(secret []byte, c Claims) (string, error) {
	if len(secret) == 0 {
		return "", errors.New("sign token: the secret is empty")
	}
	if _, err := event.ParseClient(c.Subject); err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	if c.ExpiresAt == nil {
		return "", errors.New("sign token: ExpiresAt is missing")
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

func badToken(detail string) error { return wire.Refuse(wire.Unauthorized, "", detail) }
