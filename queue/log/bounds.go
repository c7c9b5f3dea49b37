package log

import (
	"context"
	"errors"
	"time"
)

// moveBounds bound how many staged events one append moves, and about how many bytes, see culvert.weight. The
// time an event takes depends on more than its bytes, above all on rooms that have to be made, so moves are
// timed and made larger or smaller.
type moveBounds struct {
	events int32
	bytes  int64
	// alone: a move took too long. Until moves have their largest size again, or nothing is left to move, they
	// are not made in the transactions of emits, which would fail with them.
	alone bool
	// late is how often a single event took too long while Postgres stored emits in time.
	late int
	well bool // an append without a move has succeeded since the last one that failed
}

var (
	mostMoved  = moveBounds{events: 1_000, bytes: 2 << 20}
	firstMoved = moveBounds{events: 250, bytes: 256 << 10} // the cost of an event is not known yet
	// leastMoved is moved even if it takes longer than slowMove: the time that any move takes on a slow machine
	// or after a crash does not get less with fewer events, and all have to be moved some time.
	leastMoved = moveBounds{events: 125, bytes: 128 << 10}
)

// slowMove is how many milliseconds a move may take: emits on every instance wait for it.
const slowMove = 20

// of returns how many events are moved with a batch.
func (c *moveBounds) of(b *appendBatch) int32 {
	if c.alone && len(b.units) > 0 || b.dry {
		return 0
	}
	return c.events
}

// adapt lowers the bounds when a move or its append took too long, and raises them after each quick move while
// there is more to move.
func (c *moveBounds) adapt(ctx context.Context, events int32, r appended, err error) {
	switch {
	case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		if events == 1 && c.well {
			c.late++
		}
		c.well = false
		if events > 0 {
			c.scale(0.25)
			c.alone = true
		}
	case err != nil:
	case events == 0:
		c.well = true
		c.alone = r.more
	default:
		c.late = 0
		switch {
		case c.events < leastMoved.events || c.bytes < leastMoved.bytes: // after timeouts
			c.scale(2)
		case r.moveMS > slowMove:
			c.scale(max(0.1, slowMove/r.moveMS))
			c.events, c.bytes = max(c.events, leastMoved.events), max(c.bytes, leastMoved.bytes)
		case r.moved > 0 && r.moveMS < slowMove/2:
			c.scale(2)
		}
		c.alone = c.alone && r.more && c.events < mostMoved.events
		if !r.more {
			c.events, c.bytes = min(c.events, firstMoved.events), min(c.bytes, firstMoved.bytes)
		}
	}
}

func (c *moveBounds) scale(by float64) {
	c.events = min(mostMoved.events, max(1, int32(by*float64(c.events))))
	c.bytes = min(mostMoved.bytes, max(1, int64(by*float64(c.bytes))))
}

// moveTimeout is how long a move without emits may take: less after a move took too long, because emits wait
// for it.
func (a *appender) moveTimeout() time.Duration {
	if a.moving.alone {
		return a.o.AppendTimeout / 4
	}
	return a.o.AppendTimeout
}
