package log

import (
	"fmt"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
)

// Faults reports events that cannot be read to the operator, each of them once.
type Faults struct {
	log   *slog.Logger
	count prometheus.Counter

	mu   sync.Mutex
	told map[event.Offset]struct{}
}

// maxTold bounds how many reported events are remembered.
const maxTold = 10_000

// NewFaults returns Faults that log and count.
func NewFaults(log *slog.Logger, count prometheus.Counter) *Faults {
	return &Faults{log: log, count: count, told: map[event.Offset]struct{}{}}
}

// Look reports those of the events that cannot be read.
func (f *Faults) Look(events ...*event.Event) {
	for _, e := range events {
		if e.Fault != nil {
			f.tell(e)
		}
	}
}

func (f *Faults) tell(e *event.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, again := f.told[e.Offset]; again && !e.Volatile() {
		return
	}
	if len(f.told) >= maxTold {
		clear(f.told)
	}
	f.told[e.Offset] = struct{}{}
	f.count.Inc()
	f.log.Error("an event cannot be read; it is left out, and its readers are told of a gap", "offset", e.Offset,
		"namespace", e.Namespace, "room", fmt.Sprintf("%q", e.Room.String()), "error", e.Fault)
}
