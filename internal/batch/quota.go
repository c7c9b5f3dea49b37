package batch

import (
	"sync"

	"github.com/culvertmq/culvert/event"
)

// quota bounds what all callers hold together, and never gives all of it to one of them: the less is left, the
// less one may hold. A client alone gets at most two thirds of it and a namespace four fifths, so that others
// still get in while an attacker holds its share.
type quota struct {
	most, held Load
	spaces     map[string]Load
	clients    map[Caller]Load
}

// A namespace or a client may hold so many times the load that is left.
const (
	spaceShare  = 4
	clientShare = 2
)

// take counts a load for a caller, or reports that it is too much.
func (s *quota) take(c Caller, l Load) bool {
	left := s.most.minus(s.held)
	if !l.Within(left, 1) || !s.clients[c].Plus(l).Within(left, clientShare) || !s.spaces[c.Namespace].Plus(l).Within(left, spaceShare) {
		return false
	}
	s.add(c, l)
	return true
}

// add counts a load without a check.
func (s *quota) add(c Caller, l Load) {
	if s.spaces == nil {
		s.spaces, s.clients = map[string]Load{}, map[Caller]Load{}
	}
	s.held, s.spaces[c.Namespace], s.clients[c] = s.held.Plus(l), s.spaces[c.Namespace].Plus(l), s.clients[c].Plus(l)
}

// free gives back a load that was counted.
func (s *quota) free(c Caller, l Load) {
	s.held, s.spaces[c.Namespace], s.clients[c] = s.held.minus(l), s.spaces[c.Namespace].minus(l), s.clients[c].minus(l)
	if s.clients[c] == (Load{}) {
		delete(s.clients, c)
	}
	if s.spaces[c.Namespace] == (Load{}) {
		delete(s.spaces, c.Namespace)
	}
}

// Gate lets callers in while what they hold is within a quota.
type Gate struct {
	mu    sync.Mutex
	quota quota
}

// NewGate returns a gate whose callers may hold most in all; its Rooms is ignored.
func NewGate(most Load) *Gate { return &Gate{quota: quota{most: most}} }

// Enter counts a load until leave is called. Error: event.ErrOverloaded.
func (g *Gate) Enter(c Caller, l Load) (leave func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.quota.take(c, l) {
		return nil, event.ErrOverloaded
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.quota.free(c, l)
	}, nil
}
