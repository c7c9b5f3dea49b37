package api

import (
	"github.com/culvertmq/culvert/queue"
)

// keyring is the part of the queue that knows stored keys.
type keyring interface {
	Grant(token string) (queue.Grant, bool)
	Holds(g queue.Grant) bool
	HasKeys() bool
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

// endUnheld ends the sessions whose key was revoked or rotated since they began.
func (h *Handler) endUnheld() {
	h.sessions.mu.Lock()
	defer h.sessions.mu.Unlock()
	for n := range h.sessions.granted {
		if !h.queue.Holds(*n.grant) {
			n.end(reasonExpired)
		}
	}
}
