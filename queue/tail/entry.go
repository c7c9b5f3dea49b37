package tail

import (
	"github.com/culvertmq/culvert/event"
)

// entry is an event in the tail, and the bytes it counts for there.
type entry struct {
	event *event.Event
	cost  int
	later *encoded // nil: cost is all of it
}

// encoded counts the bytes of an event's encoded form, once there is one.
type encoded struct {
	tail    *Tail
	bytes   int
	evicted bool
}

func (e *encoded) count(bytes int) {
	e.tail.mu.Lock()
	defer e.tail.mu.Unlock()
	if e.evicted {
		return
	}
	e.bytes += bytes
	e.tail.bytes += bytes
	e.tail.trim()
}

// gone is called when the entry leaves the tail, and returns the bytes it counted for.
func (n entry) gone() int {
	if n.later == nil {
		return n.cost
	}
	n.later.evicted = true
	return n.cost + n.later.bytes
}
