package log

import (
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/internal/lineage"
)

// When the server changes, a held unit waits for transactions of the new one, and gives up no later than
// before.
func TestAUnitIsHeldOnAnotherServer(t *testing.T) {
	one := &lineage.Lineage{Log: "k", Generation: 1, Runs: []lineage.Run{{First: 0, Last: event.MaxOffset}}}
	renewed := &lineage.Lineage{Log: "k", Generation: 2, Runs: []lineage.Run{{First: 0, Last: event.MaxOffset}}} // a namespace was deleted
	other := &lineage.Lineage{Log: "k", Generation: 3, Runs: []lineage.Run{{First: 0, Last: 5}, {First: 100, Last: event.MaxOffset}}}
	a := &appender{o: Options{AppendTimeout: time.Hour}, queue: batch.New[*unit](batch.Options{}), now: horizon{one, 900}}
	u := newUnit(nil)
	a.addHeld(u)
	giveUp := u.giveUp
	a.now = horizon{renewed, 950}
	if a.addHeld(u); u.until.on(renewed) != 900 || u.until.on(other) != 0 {
		t.Errorf("the unit waits for %d, and for %d on another server; want 900 and 0", u.until.on(renewed), u.until.on(other))
	}
	a.now = horizon{other, 30}
	if a.addHeld(u); u.until.on(other) != 30 || !u.giveUp.Equal(giveUp) {
		t.Errorf("the unit waits for %d, until %v; want 30 and %v", u.until.on(other), u.giveUp, giveUp)
	}
}
