package log

import (
	"testing"

	"github.com/culvertmq/culvert/event"
)

// A key that was used before settles its own unit only.
func TestKnownKeysSettleTheirUnits(t *testing.T) {
	first, free := newUnit([]event.Emit{{Key: event.MustKey("a")}}), newUnit([]event.Emit{{}})
	b := &appendBatch{units: []*unit{first, free}, events: []place{{first, 0}, {free, 0}}, keyPos: []int32{1}}
	rest := b.settleKnown(appended{known: []int32{1}, knownOffset: []event.Offset{7}, knownSame: []bool{true}})
	if len(rest) != 1 || rest[0] != free || !first.Answered() || free.Answered() {
		t.Errorf("%d units are left; the other is answered: %v", len(rest), free.Answered())
	}
}
