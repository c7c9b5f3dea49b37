package log

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/internal/lineage"
)

// unit is what is stored or refused as one. Until it is answered, only the appender writes to it, so a caller
// that stops waiting must not touch it any more.
type unit struct {
	batch.Ticket
	emits    []event.Emit
	hashes   [][]byte    // of the emits that have a key
	expected []*audience // who is to reply to the emits that ask without a count
	results  []event.Result
	series   *series           // of AppendEach; nil for a unit on its own
	barrier  []event.Namespace // the namespaces that a unit without emits waits for; see behind.go

	// until is set while the unit waits for staged events that were committed before it came: those of
	// transactions with ids below until. giveUp is the time after which the unit is refused.
	until  horizon
	giveUp time.Time
	held   bool
}

func newUnit(emits []event.Emit) *unit {
	var caller batch.Caller
	if len(emits) > 0 {
		caller = CallerOf(emits[0].Namespace, emits[0].From)
	}
	u := &unit{Ticket: batch.NewTicket(caller, batch.Load{}), emits: emits, results: make([]event.Result, len(emits))}
	for i := range emits {
		u.Load = u.Load.Plus(loadOfEmit(&emits[i]))
		if emits[i].Key != (event.Key{}) {
			if u.hashes == nil {
				u.hashes = make([][]byte, len(emits))
			}
			u.hashes[i] = emits[i].Hash()
		}
	}
	return u
}

func (u *unit) wait(ctx context.Context) ([]event.Result, error) {
	if err := u.Wait(ctx); err != nil {
		return nil, err
	}
	return u.results, nil
}

// settled reports whether every emit of the unit is a repeat, whose key was used before.
func (u *unit) settled() bool {
	return len(u.results) > 0 && !slices.ContainsFunc(u.results, func(r event.Result) bool { return !r.Duplicate })
}

// namespaces yields the namespaces of the unit, each at least once.
func (u *unit) namespaces(yield func(event.Namespace) bool) {
	for _, ns := range u.barrier {
		if !yield(ns) {
			return
		}
	}
	last := event.Namespace{}
	for i := range u.emits {
		if ns := u.emits[i].Namespace; ns != last {
			if last = ns; !yield(ns) {
				return
			}
		}
	}
}

// refuse answers the unit with err, unless it was answered before, and stops its series.
func (u *unit) refuse(err error) {
	if !u.Answered() {
		u.Answer(err)
		u.series.stop(err)
	}
}

// audience is who is to reply to those asks of one call that go to the same clients.
type audience struct {
	emit    *event.Emit // the first of the asks
	parties []string
	asks    []askAt
}

type askAt struct {
	unit *unit
	emit int // its index
}

func (a *audience) bytes() (n int) {
	for _, name := range a.parties {
		n += len(name) + NameBytes
	}
	return n
}

// series is the units of one AppendEach. They are stored in order, up to the first that fails for a temporary
// reason. Only the appender's goroutine uses it.
type series struct{ broken error }

// stop ends the series because a unit of it failed with err. A refusal does not end it: it concerns that unit
// alone.
func (s *series) stop(err error) {
	if s == nil || s.broken != nil || isRefusal(err) {
		return
	}
	s.broken = after(err)
}

// after is the error of an emit that is not stored because an earlier one failed with err.
func after(err error) error { return fmt.Errorf("an earlier emit was not stored: %w", err) }

// isRefusal reports whether the same emit would fail every time it is sent.
func isRefusal(err error) bool {
	var bad *event.InvalidError
	return errors.As(err, &bad) || errors.Is(err, event.ErrKeyReused) || errors.Is(err, event.ErrRoomQuota) || errors.Is(err, event.ErrDeleted) || errors.Is(err, event.ErrNotFound)
}

// unbroken refuses the units whose series has stopped, and returns the others.
func unbroken(units []*unit) []*unit {
	stopped := func(u *unit) bool { return u.series != nil && u.series.broken != nil }
	if !slices.ContainsFunc(units, stopped) {
		return units
	}
	var kept []*unit
	for _, u := range units {
		if stopped(u) {
			u.refuse(u.series.broken)
		} else {
			kept = append(kept, u)
		}
	}
	return kept
}

// Bytes that are counted for what waits, in addition to its data.
const (
	EmitBytes = 256 // an emit that waits
	RoomBytes = 512 // a room that an event is addressed to: its name's place, its id, its event in the tail
	NameBytes = 64  // a name in a list
)

// loadOfEmit counts an emit's data once, and each of its rooms.
func loadOfEmit(e *event.Emit) batch.Load {
	rooms := max(1, len(e.Rooms))
	bytes := EmitBytes + e.Data.Len() + rooms*RoomBytes + len(e.Except)*NameBytes
	for _, r := range e.Rooms {
		bytes += len(r.String())
	}
	for _, r := range e.Except {
		bytes += len(r.String())
	}
	return batch.Load{Events: 1, Rooms: rooms, Bytes: bytes}
}

// CallerOf returns the caller in whose lane an emit of a client waits.
func CallerOf(ns event.Namespace, c event.Client) batch.Caller {
	return batch.Caller{Namespace: ns.String(), Client: c.String()}
}

// horizon is a transaction id. It means something only on its own server: on another one that was behind, all
// staged events may have lower ids.
type horizon struct {
	of  *lineage.Lineage
	xid uint64
}

// on returns the id for culvert.append, or 0 if l is not of the same server.
func (h *horizon) on(l *lineage.Lineage) int64 {
	if h == nil || h.of == nil || !h.of.SameHistory(l) {
		return 0
	}
	return int64(h.xid) //nolint:gosec // a transaction id counts up from 0
}

// movedUpTo says which staged events are in the log already, see culvert.append: those of all transactions that
// are visible in seen, and those of the transaction part up to the id last (both are 0 at first). Like a
// horizon, it means something only on its own server.
type movedUpTo struct {
	of   *lineage.Lineage
	seen string // a pg_snapshot
	part int64
	last int64
}

// on returns c for culvert.append. If l is not of the same server, it says that nothing was moved.
func (c *movedUpTo) on(l *lineage.Lineage) movedUpTo {
	if c == nil || c.of == nil || !c.of.SameHistory(l) {
		return movedUpTo{seen: "1:1:"}
	}
	return *c
}
