package api

import (
	"crypto/sha256"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue/registry"
)

// keys are the credentials that the database knows.
type keys interface {
	Grant(token string) (registry.Grant, bool)
	Holds(g registry.Grant) bool
	RevokedAt(ns event.Namespace, c event.Client) time.Time
}

// storedKey finds the backend whose key is stored in the database.
func storedKey(from keys, token string) (identity, bool) {
	g, ok := from.Grant(token)
	if !ok {
		return identity{}, false
	}
	who := identity{backend: true, grant: &g, expires: g.Until}
	for _, ns := range g.Namespaces {
		who.namespaces = append(who.namespaces, ns.String())
	}
	return who, true
}

// keyID tells the keys of backends apart, or the namespaces of tokens; zero: none.
type keyID [8]byte

// keyOf names a key without keeping it.
func keyOf(secret string) (id keyID) {
	digest := sha256.Sum256([]byte(secret))
	copy(id[:], digest[:])
	return id
}
