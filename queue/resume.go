package queue

import (
	"cmp"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/trusted"
	"github.com/culvertmq/culvert/queue/tail"
)

// resumption is where a subscription begins and what it may see.
type resumption struct {
	start     event.Cursor
	intervals []tail.Interval // of its client
	known     event.Offset    // the intervals have all changes up to here
	run       event.Offset    // the history of the start, or lineage.Nowhere
	// stored: the client has a row in Postgres.
	stored bool
}

// snapshot is what resumeSQL found.
type snapshot struct {
	log         string
	floor, head event.Offset
	lineage     *lineage.Lineage
	stored      *event.Offset // nil: a client never seen
	intervals   []tail.Interval
}

// resume says where a subscription begins.
func (found *snapshot) resume(in Interest) resumption {
	r := resumption{intervals: found.intervals, known: found.head, stored: found.stored != nil}
	switch {
	case !in.After.IsZero():
		r.start = in.After
	case in.Earliest:
		r.start = event.Cursor{Log: found.log, Offset: found.floor}
	case found.stored != nil:
		r.start = event.Cursor{Log: found.log, Offset: *found.stored}
	default:
		r.start = event.Cursor{Log: found.log, Offset: found.head}
	}
	r.run = found.lineage.RunOf(r.start, found.head)
	return r
}

// membershipRow is a membership as Postgres returns it; all is nil if there is none.
type membershipRow struct {
	room         *string
	since, until *event.Offset
	own          *bool
}

func (found *snapshot) add(m membershipRow, in Interest) {
	if m.room == nil {
		return
	}
	r := event.StoredRoom(trusted.Of(*m.room))
	found.intervals = append(found.intervals, tail.Interval{Room: r, Since: *m.since, Until: *cmp.Or(m.until, &forevermore), Lapsed: *m.own && !in.allows(r)})
}

var forevermore = event.MaxOffset
