package auth

import (
	"crypto/sha256"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue/registry"
)

// Keys are the credentials that the database knows.
type Keys interface {
	Grant(token string) (registry.Grant, bool)
	Holds(g registry.Grant) bool
	RevokedAt(ns event.Namespace, c event.Client) time.Time
}

// storedKey finds the backend whose key is stored in the database.
func storedKey(from Keys, token string) (Identity, bool) {
	g, ok := from.Grant(token)
	if !ok {
		return Identity{}, false
	}
	who := Identity{Backend: true, Grant: &g, Expires: g.Until}
	for _, ns := range g.Namespaces {
		who.Namespaces = append(who.Namespaces, ns.String())
	}
	return who, true
}

// KeyID identifies a backend's key, or the set of namespaces of a token for several. Zero means neither.
type KeyID [8]byte

// KeyOf returns the id of a key: a part of its digest, which does not reveal the key.
func KeyOf(secret string) (id KeyID) {
	digest := sha256.Sum256([]byte(secret))
	copy(id[:], digest[:])
	return id
}
