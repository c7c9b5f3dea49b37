package queue

import (
	"sync"

	"github.com/culvertmq/culvert/event"
)

// load is how much of a queue something takes.
type load struct {
	events int
	rooms  int // what they are addressed to: rows in Postgres
	bytes  int // held in memory
}

func (l load) plus(o load) load {
	return load{l.events + o.events, l.rooms + o.rooms, l.bytes + o.bytes}
}

func (l load) minus(o load) load {
	return load{l.events - o.events, l.rooms - o.rooms, l.bytes - o.bytes}
}

// within reports whether it is at most n times another one. The rooms are in the bytes.
func (l load) within(o load, n int) bool { return l.events <= n*o.events && l.bytes <= n*o.bytes }

// Bytes that something is counted for beside its data.
const (
	emitBytes = 256 // an emit that waits
	roomBytes = 512 // a room that an event is addressed to: its name's place, its id, its event in the tail
	nameBytes = 64  // a name in a list
)

// load of an emit: its data once, and each room.
func loadOfEmit(e *event.Emit) load {
	rooms := max(1, len(e.Rooms))
	bytes := emitBytes + e.Data.Len() + rooms*roomBytes + len(e.Except)*nameBytes
	for _, r := range e.Rooms {
		bytes += len(r.String())
	}
	for _, r := range e.Except {
		bytes += len(r.String())
	}
	return load{1, rooms, bytes}
}

// caller is whose something is: a client of a namespace, or its backends together.
type caller struct{ space, client string }

func callerOf(e *event.Emit) caller { return caller{e.Namespace.String(), e.From.String()} }

// quota bounds what all callers hold together, and gives none of them all of it: the less is
// left, the less one may hold. A client alone gets at most two thirds of it and a
// namespace four fifths, so that whoever comes while an attacker has his share gets in.
type quota struct {
	most, held load
	spaces     map[string]load
	clients    map[caller]load
}

const (
	spaceShare  = 4
	clientShare = 2
)

// take counts a load for a caller, or reports that it is too much.
func (s *quota) take(c caller, l load) bool {
	left := s.most.minus(s.held)
	if !l.within(left, 1) || !s.clients[c].plus(l).within(left, clientShare) || !s.spaces[c.space].plus(l).within(left, spaceShare) {
		return false
	}
	s.add(c, l)
	return true
}

// add counts a load that is there in any case.
func (s *quota) add(c caller, l load) {
	if s.spaces == nil {
		s.spaces, s.clients = map[string]load{}, map[caller]load{}
	}
	s.held, s.spaces[c.space], s.clients[c] = s.held.plus(l), s.spaces[c.space].plus(l), s.clients[c].plus(l)
}

// free gives back what was counted.
func (s *quota) free(c caller, l load) {
	s.held, s.spaces[c.space], s.clients[c] = s.held.minus(l), s.spaces[c.space].minus(l), s.clients[c].minus(l)
	if s.clients[c] == (load{}) {
		delete(s.clients, c)
	}
	if s.spaces[c.space] == (load{}) {
		delete(s.spaces, c.space)
	}
}

// gate lets callers in while what they hold is within a quota.
type gate struct {
	mu    sync.Mutex
	quota quota
}

// enter counts a load until leave is called. Error: ErrOverloaded.
func (g *gate) enter(c caller, l load) (leave func(), err error) {
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
