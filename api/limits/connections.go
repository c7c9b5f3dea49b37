package limits

import (
	"sync"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// connections counts the requests that last: streams, held long polls, emits that wait for replies and NDJSON
// uploads.
type connections struct {
	mu   sync.Mutex
	open map[holder]int
}

// Connect counts a request as a connection until release is called, and no longer as a request under way. A
// backend that acts for no client has only the limit of the namespace.
// Errors: *wire.Problem when there are too many.
func (l *Limiter) Connect(ns event.Namespace, who *auth.Identity, a *Account) (release func(), err error) {
	limits := l.limitsFor(ns)
	namespace, client := holder{party: party{ns: ns}}, holder{party: party{ns, who.Client}}
	inAll, several := everywhere(who)
	most := part(who, limits.Connections)
	s := &l.connections
	s.mu.Lock()
	defer s.mu.Unlock()
	var all holder
	switch {
	case limits.Connections > 0 && s.open[all] >= limits.Connections:
		return nil, wire.Refuse(wire.Overloaded, "", "this instance has too many streams, long polls, waiting emits and uploads open")
	case limits.NamespaceConnections > 0 && s.open[namespace] >= limits.NamespaceConnections:
		return nil, wire.Refuse(wire.TooManyConnections, "", "the namespace has too many streams, long polls, waiting emits and uploads open")
	case !leaves(s.open[namespace]+1, limits.NamespaceConnections, s.open[all]+1, limits.Connections):
		return nil, wire.Refuse(wire.TooManyConnections, "", "the namespace already has its share of this instance's streams, long polls, waiting emits and uploads")
	case client != namespace && limits.ClientConnections > 0 && s.open[client] >= limits.ClientConnections:
		return nil, wire.Refuse(wire.TooManyConnections, "", "the client has too many streams, long polls, waiting emits and uploads open")
	case several && most > 0 && s.open[inAll] >= most:
		return nil, wire.Refuse(wire.TooManyConnections, "", credentials(who)+" has too many streams, long polls, waiting emits and uploads open in all its namespaces together")
	}
	if s.open == nil {
		s.open = map[holder]int{}
	}
	held := []holder{all, namespace}
	if client != namespace {
		held = append(held, client)
	}
	if several {
		held = append(held, inAll)
	}
	for _, of := range held {
		s.open[of]++
	}
	a.asConnection()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, of := range held {
			s.leave(of)
		}
	}, nil
}

// leave takes one connection off a holder's count, and deletes the count when it is zero.
func (s *connections) leave(p holder) {
	if s.open[p]--; s.open[p] <= 0 {
		delete(s.open, p)
	}
}
