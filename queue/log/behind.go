package log

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/culvertmq/culvert/event"
)

// An event emitted from SQL is in the log before all that is emitted after its transaction was committed. A
// transaction may have staged more events than one append moves. Units that come to its namespace meanwhile are
// held; other namespaces are not held up.
//
// A unit is held until the events of transactions below its until are moved. It does not wait for events that
// are staged later, so that a stream of them cannot hold it for ever.

// behind has the namespaces and series in which a unit is held, so that later ones must wait.
type behind struct {
	spaces map[event.Namespace]bool
	series map[*series]bool
}

// add makes later units in the namespaces and the series of a held unit wait.
func (h *behind) add(u *unit) {
	for ns := range u.namespaces {
		if h.spaces == nil {
			h.spaces = map[event.Namespace]bool{}
		}
		h.spaces[ns] = true
	}
	if u.series != nil {
		if h.series == nil {
			h.series = map[*series]bool{}
		}
		h.series[u.series] = true
	}
}

// has reports whether a later unit has to wait for a held one.
func (h *behind) has(u *unit) bool {
	if u.series != nil && h.series[u.series] {
		return true
	}
	for ns := range u.namespaces {
		if h.spaces[ns] {
			return true
		}
	}
	return false
}

// hold holds the units whose namespaces are in waits, and the units that must not overtake them. It returns the
// others.
func (a *appender) hold(units []*unit, waits []string) (others []*unit) {
	var h behind
	for _, u := range units {
		waiting := h.has(u)
		for ns := range u.namespaces {
			waiting = waiting || slices.Contains(waits, ns.String())
		}
		if !waiting {
			others = append(others, u)
			continue
		}
		a.addHeld(u)
		h.add(u)
	}
	return others
}

// holdBehind holds the units that must not overtake one that is held. They came before the last append, so its
// horizon is right for them, too. It returns the others.
func (a *appender) holdBehind(units []*unit) (others []*unit) {
	if len(a.held) == 0 {
		return units
	}
	var h behind
	for _, u := range a.held {
		h.add(u)
	}
	for _, u := range units {
		if !h.has(u) {
			others = append(others, u)
			continue
		}
		a.addHeld(u)
		h.add(u)
	}
	return others
}

// addHeld adds a unit to those that are held; it counts as waiting again. If the server has changed, the unit
// waits for what is staged on the new one now, but gives up no later than before.
func (a *appender) addHeld(u *unit) {
	if u.giveUp.IsZero() {
		u.giveUp = time.Now().Add(a.o.AppendTimeout)
	}
	if u.until.on(a.now.of) == 0 {
		u.until = a.now
	}
	u.held = true
	a.held = append(a.held, u)
	a.queue.Hold(u)
}

var errBehindSQL = fmt.Errorf("%w: events that were emitted from SQL before are still being stored", event.ErrOverloaded)

// releaseHeld moves more of the staged events, in an append without units, and returns the units that need not
// wait any longer. It refuses those that have waited too long.
func (a *appender) releaseHeld(ctx context.Context, t *turn) (free []*unit) {
	if len(a.held) == 0 {
		return nil
	}
	held := a.held
	a.held = nil
	for _, u := range held {
		u.held = false
		a.queue.Release(u)
	}
	waits, err := a.stillWait(ctx, held, t)
	if err != nil {
		for _, u := range held {
			u.refuse(err)
		}
		return nil
	}
	var h behind
	first := map[event.Namespace]horizon{}
	for _, u := range unbroken(held) {
		waiting := h.has(u)
		for ns := range u.namespaces {
			if _, again := first[ns]; !again {
				first[ns] = u.until
			}
			waiting = waiting || slices.Contains(waits, ns.String()) || first[ns] != u.until
		}
		switch {
		case !waiting:
			free = append(free, u)
		case time.Now().After(u.giveUp):
			u.refuse(errBehindSQL)
		default:
			a.addHeld(u)
			h.add(u)
		}
	}
	return unbroken(free)
}

// stillWait moves staged events. It returns the namespaces with staged events left that come before the first
// unit held there.
func (a *appender) stillWait(ctx context.Context, held []*unit, t *turn) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, a.moveTimeout())
	defer cancel()
	for {
		b := &appendBatch{lineage: a.o.Lineage.Load()}
		for _, u := range held {
			b.await(u)
		}
		r, err := a.append(ctx, b, t)
		if err != nil && a.moving.alone && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return b.spaces, nil // the move is tried again with fewer events
		}
		if err != nil || r.generation == b.lineage.Generation {
			return r.waits, err
		}
		if err := a.renew(ctx, b.lineage); err != nil {
			return nil, err
		}
	}
}

// afterStaged returns once the log has all events that were emitted from SQL into a namespace by transactions
// committed before the call.
func (a *appender) afterStaged(ctx context.Context, ns event.Namespace) error {
	ctx, cancel := context.WithTimeout(ctx, a.o.AppendTimeout)
	defer cancel()
	u := newUnit(nil)
	u.barrier, u.Caller = []event.Namespace{ns}, CallerOf(ns, event.Client{})
	if err := a.queue.Submit(u); err != nil {
		return err
	}
	_, err := u.wait(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return errBehindSQL
	}
	return err
}
