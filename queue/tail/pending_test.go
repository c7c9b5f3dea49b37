package tail

import (
	"testing"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
)

// The bytes of volatile events that wait for readers are bounded, for each reader and for all together.
func TestPendingIsBoundedByBytes(t *testing.T) {
	at := testTail(&lineage.Lineage{Log: "k", Runs: []lineage.Run{{First: 0, Last: event.MaxOffset}}}, 0)
	at.o.Bytes = 8 << 20
	event := func(n int) pendingEvent { return pendingEvent{&event.Event{}, &held{bytes: n, all: &at.volatileBytes}} }
	var slow pending
	for range 100 {
		slow.add(event(200<<10), int64(at.o.Bytes))
	}
	if slow.bytes > maxPendingBytes || at.volatileBytes.Load() != int64(slow.bytes) {
		t.Errorf("one slow reader holds %d bytes, all together %d", slow.bytes, at.volatileBytes.Load())
	}
	many := make([]pending, 200)
	for range 10 {
		for i := range many {
			many[i].add(event(200<<10), int64(at.o.Bytes))
		}
	}
	if all := at.volatileBytes.Load(); all > 2*int64(at.o.Bytes)+200<<10 {
		t.Errorf("all slow readers hold %d bytes", all)
	}
	for i := range many {
		many[i].take()
	}
	slow.take()
	shared := event(200 << 10)
	for i := range many {
		many[i].add(shared, int64(at.o.Bytes))
	}
	if all := at.volatileBytes.Load(); all != 200<<10 {
		t.Errorf("an event that %d readers wait for takes %d bytes", len(many), all)
	}
	for i := range many {
		many[i].take()
	}
	if all := at.volatileBytes.Load(); all != 0 {
		t.Errorf("%d bytes are left", all)
	}
}
