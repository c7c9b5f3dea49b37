package api

import (
	"context"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue/registry"
)

// keyring is the part of the queue that knows which credentials are good.
type keyring interface {
	Grant(token string) (registry.Grant, bool)
	Holds(g registry.Grant) bool
	HasKeys() bool
	Revoke(ctx context.Context, ns event.Namespace, c event.Client) error
	RevokedAt(ns event.Namespace, c event.Client) time.Time
	Revocations() int
	Watch(f func())
}

// storedKey finds the backend whose key is stored in the database.
func storedKey(keys keyring, token string) (caller, bool) {
	g, ok := keys.Grant(token)
	if !ok {
		return caller{}, false
	}
	who := caller{backend: true, grant: &g, expires: g.Until}
	for _, ns := range g.Namespaces {
		who.namespaces = append(who.namespaces, ns.String())
	}
	return who, true
}

// enter opens a session of the call. Credentials that stopped being good since they
// were looked at end it at once.
func (h *Handler) enter(c *call) *session {
	n := h.sessions.enter(c.r.Context(), c.ns, &c.who)
	if !h.good(c.ns, &c.who) {
		n.end(reasonExpired)
	}
	return n
}

// good reports whether a caller's credentials are still good, beside their expiry:
// a stored key that was neither revoked nor rotated, a client that was not revoked
// since its token was issued.
func (h *Handler) good(ns event.Namespace, who *caller) bool {
	switch {
	case who.grant != nil:
		return h.queue.Holds(*who.grant)
	case who.backend:
		return true
	}
	at := h.queue.RevokedAt(ns, who.client)
	return at.IsZero() || who.issued.After(at)
}

// endUnheld ends the sessions whose credentials are not good any more.
func (h *Handler) endUnheld() {
	revoked := h.queue.Revocations() > 0
	h.sessions.mu.Lock()
	defer h.sessions.mu.Unlock()
	for n := range h.sessions.open {
		if (revoked || n.who.grant != nil) && !h.good(n.ns, &n.who) {
			n.end(reasonExpired)
		}
	}
}
