package culvert

import (
	"testing"
	"time"
)

// TestLadderBrokenPages: after a broken page the client asks again soon, and reports a lost connection only if that continues.
func TestLadderBrokenPages(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.buffered()
		r.chance = 0.999
		breaks := func(e ending) {
			r.begin()
			r.gotHeaders()
			r.ends(10*time.Millisecond, e)
		}
		for range 2 {
			for range 4 {
				breaks(ending{kind: endClosed})
				r.waits(0, 300*time.Millisecond)
				if !r.up {
					t.Error("the ladder is not up")
				}
			}
			r.begin()
			r.page(50 * time.Millisecond)
		}
		for range 5 {
			if !r.up {
				t.Error("the ladder is not up")
			}
			breaks(ending{kind: endClosed})
		}
		r.waits(400*time.Millisecond, 500*time.Millisecond)
		if r.up {
			t.Error("the ladder counts as up, though no page is complete")
		}
		r.begin()
		r.page(50 * time.Millisecond)
		breaks(ending{kind: endForeign}) // complete, but not from Culvert
		if p := r.begin(); p.limit != 2 {
			t.Errorf("the poll asks for %d events", p.limit)
		}
	})
}

// TestLadderBrokenBefore: pages that broke before a stream worked do not count afterwards.
func TestLadderBrokenBefore(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.buffered()
		breaks := func() {
			r.is(Poll)
			r.gotHeaders()
			r.cut(10 * time.Millisecond)
		}
		for range 4 {
			breaks()
		}
		r.wake(true)
		r.is(Stream)
		r.hello()
		r.late()
		r.silentAfter()
		breaks()
		if !r.up {
			t.Error("the ladder is not up")
		}
	})
}

// TestLadderAskedByOthers: the client waits as long as a proxy asks, and judges the proxy as if it had not asked.
func TestLadderAskedByOthers(t *testing.T) {
	wait := ending{kind: endForeign, after: 8 * time.Second}
	least, most := 8*time.Second, 10*time.Second
	bubble(t, func(t *testing.T, r *rig) {
		r.is(Stream)
		r.hello()
		r.cut(20 * time.Second)
		for range 2 {
			r.is(Stream)
			r.ends(10*time.Millisecond, wait)
			r.waits(least, most)
			if r.up {
				t.Error("the ladder counts as up, while nothing can come")
			}
		}
		r.is(Poll, 0) // refused twice
		r.ends(10*time.Millisecond, wait)
		r.waits(least, most)
		r.is(Stream) // with a stream, too
		if r.saved != (verdict{}) {
			t.Errorf("the ladder remembers %+v", r.saved)
		}
	})
	bubble(t, func(t *testing.T, r *rig) {
		r.buffered()
		r.is(Poll, longestWait)
		r.ends(10*time.Millisecond, wait)
		r.waits(least, most)
		if r.up {
			t.Error("the ladder counts as up, while nothing can come")
		}
		r.is(Poll, 0)
		r.page(50 * time.Millisecond)
		r.chance = 0.999
		for range 9 {
			r.begin()
			r.cut(time.Millisecond)
		}
		r.begin()
		r.ends(time.Millisecond, wait)
		r.waits(20*time.Second, 30*time.Second) // not sooner than if the proxy had not asked
	})
}
