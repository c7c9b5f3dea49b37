package log

import (
	"slices"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/queue/tail"
)

// Page is what one read of the log returns. All of it is from one snapshot.
type Page struct {
	Log    string
	Floor  event.Offset // every offset up to it is gone from the log
	Pruned event.Offset // the last offset up to Floor that had an event in the rooms asked for
	Events []*event.Event
	Taken  int  // bytes of the reader's memory
	Cut    bool // there was no memory for more events
	// Counter is the newest position of the log.
	Counter event.Offset
	Lineage *lineage.Lineage // of the ids it was read with; nil in what the follower reads

	bytes int            // of the events' data
	bare  []*event.Event // the events whose data is in another row; see bodies.go
}

// Full reports whether there may be more than was read.
func (p *Page) Full(limit int) bool {
	return p.Cut || len(p.Events) == limit || p.bytes >= tail.MaxBatch
}

// PageRequest says what to read: the events of the intervals, after the offset After and up to UpTo, at most
// Limit of them.
type PageRequest struct {
	Namespace event.Namespace
	ID        int32 // of the namespace
	Client    event.Client
	Intervals []tail.Interval
	After     event.Offset
	UpTo      event.Offset
	Limit     int
	Memory    event.Memory // is charged with the events; nil: they are not counted
}

// charge takes n bytes for an event from memory. It reports whether there were so many.
func (p *Page) charge(m event.Memory, n int) bool {
	if m == nil {
		return true
	}
	if !m.Take(n) {
		return false
	}
	p.Taken += n
	return true
}

// Release gives back the memory of the page's events, when nobody will get them.
func (p *Page) Release(m event.Memory) {
	if m != nil && p.Taken > 0 {
		m.Give(p.Taken)
		p.Taken = 0
	}
}

// cutShort reports whether a page of culvert.follow or culvert.recent may have been cut short by a limit. Of a row that
// is damaged nobody knows how many bytes Postgres counted.
func (p *Page) cutShort() bool {
	return p.Full(followPage) || slices.ContainsFunc(p.Events, func(e *event.Event) bool { return e.Fault != nil })
}

// followPage is how many rows one read takes. It is more than the rooms an event may have, so that a page
// always has all rows of at least one offset.
const followPage = 2_000
