package lineage

import (
	"testing"

	"github.com/culvertmq/culvert/event"
)

func TestPlaceOfAPosition(t *testing.T) {
	l := &Lineage{Log: "k", Floor: 3, Runs: []Run{{0, 5}, {100, 120}, {200, event.MaxOffset}}}
	const counter = 210
	for _, c := range []struct {
		position, to event.Offset
		known        bool
	}{
		{0, 0, true}, {3, 3, true}, {5, 5, true}, // retention has passed these
		{6, 5, false}, {99, 5, false}, // given out after a backup of 5, if at all
		{100, 100, true}, {120, 120, true}, {121, 120, false}, {199, 120, false},
		{200, 200, true}, {210, 210, true},
		{211, 200, false}, {event.MaxOffset, 200, false},
	} {
		if to, known := l.Place(c.position, counter); to != c.to || known != c.known {
			t.Errorf("%d: %d, %v; want %d, %v", c.position, to, known, c.to, c.known)
		}
	}
	pruned := &Lineage{Log: "k", Floor: 90, Runs: []Run{{100, 120}, {200, event.MaxOffset}}}
	if _, known := pruned.Place(95, counter); !known {
		t.Error("a position in a run that retention has removed counts as one of a lost history")
	}
}
