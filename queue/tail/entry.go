package tail

import "github.com/culvertmq/culvert/event"

// entry is an event in the tail, and the bytes it counts for there.
type entry struct {
	event *event.Event
	cost  int
	later *encoded // nil: cost is all of it
}

// encoded counts the bytes of an event's encoded form, once there is one.
type encoded struct {
	bytes   int
	evicted bool
}

// gone is called when the entry leaves the tail, and returns the bytes it counted for.
func (n entry) gone() int {
	if n.later == nil {
		return n.cost
	}
	n.later.evicted = true
	return n.cost + n.later.bytes
}

// ShortData is the greatest size, in bytes, of data and exceptions that are repeated for every room of an
// event, in Postgres and here: looking them up elsewhere would cost more.
const ShortData = 256

// eventOverhead is what an event costs in memory in addition to its data. The data is held twice: as it came
// and in its encoded form.
const eventOverhead = 512

// SizeOf returns the memory, in bytes, that an event with so many bytes of data takes.
func SizeOf(data int) int { return 2*data + eventOverhead }

// neighbour returns the event before the i-th one, and whether the i-th one is to several rooms.
func neighbour(events []*event.Event, i int) (before *event.Event, several bool) {
	if i > 0 {
		before = events[i-1]
	}
	same := func(other int) bool {
		return other >= 0 && other < len(events) && events[other].Offset == events[i].Offset
	}
	return before, same(i-1) || same(i+1)
}
