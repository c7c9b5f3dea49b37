package registry

import (
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"strings"
	"time"

	"github.com/culvertmq/culvert/event"
)

// Grant is what the token of a stored key gives access to.
type Grant struct {
	Key        string            // its id
	Namespaces []event.Namespace // nil: all
	Until      time.Time         // zero: without end

	hash [sha256.Size]byte
}

// Grant finds the stored key that a token belongs to, as this instance knows it. It returns false if there is
// none, or if the key has expired or was revoked. It never blocks and takes the same time for every secret of
// one key.
func (r *Registry) Grant(token string) (Grant, bool) {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok {
		return Grant{}, false
	}
	id, secret, ok := strings.Cut(rest, "_")
	if !ok {
		return Grant{}, false
	}
	g := Grant{Key: id, hash: sha256.Sum256([]byte(secret))}
	ok = r.fill(&g, time.Now())
	g.Namespaces = slices.Clone(g.Namespaces) // the registry's own must not be changed
	return g, ok
}

// Holds reports whether a grant is still valid: its key may have been revoked or rotated, or have expired.
func (r *Registry) Holds(g Grant) bool { return r.fill(&g, time.Now()) }

// fill completes a grant that has Key and hash, and reports whether it is valid.
func (r *Registry) fill(g *Grant, now time.Time) bool {
	k, ok := r.now.Load().keys[g.Key]
	if !ok {
		return false
	}
	current := subtle.ConstantTimeCompare(k.hash, g.hash[:]) == 1
	old := subtle.ConstantTimeCompare(k.oldHash, g.hash[:]) == 1
	g.Namespaces, g.Until = k.Namespaces, k.ExpiresAt
	if old && (g.Until.IsZero() || k.oldUntil.Before(g.Until)) {
		g.Until = k.oldUntil
	}
	return (current || old) && (g.Until.IsZero() || now.Before(g.Until))
}

// HasKeys reports whether there is a stored key that works now.
func (r *Registry) HasKeys() bool {
	now := time.Now()
	for _, k := range r.now.Load().keys {
		if k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt) {
			return true
		}
	}
	return false
}
