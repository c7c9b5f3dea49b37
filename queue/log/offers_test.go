package log

import (
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
)

// An instance waits for others only while they come.
func TestPeersAreExpectedWhileTheyCome(t *testing.T) {
	p := peers{expect: 1}
	head := event.Offset(0)
	learn := func(offered bool, others event.Offset, batches int) {
		r := appended{prev: head + others, stored: true, batches: batches}
		head = r.prev + 1
		r.head = head
		p.learn(offered, r, time.Millisecond)
	}
	for range 10 {
		learn(false, 0, 1)
		learn(true, 0, 1) // the lock was taken by a join of its own, or by retention
	}
	if p.expect != 1 {
		t.Fatalf("an instance that is alone expects %d batches", p.expect)
	}
	for range 2 {
		learn(true, 5, 1)
	}
	if p.expect != 2 {
		t.Errorf("after two meetings it expects %d batches", p.expect)
	}
	learn(true, 5, 4)
	learn(true, 5, 3)
	if p.expect != 4 {
		t.Errorf("after one of four was late it expects %d batches", p.expect)
	}
	for range 3 {
		learn(true, 5, 3)
	}
	if p.expect != 3 {
		t.Errorf("after one of four has gone it expects %d batches", p.expect)
	}
	waits := 0
	for range 1_000 { // it meets others, but they never come in time
		if p.expect > 1 {
			waits++
		}
		learn(true, 5, 1)
	}
	if waits == 0 || waits > 40 {
		t.Errorf("it waited in vain %d times in 1,000 appends", waits)
	}
}
