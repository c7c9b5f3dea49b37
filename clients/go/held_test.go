package culvert

import (
	"testing"
	"time"
)

// has wants so much time until the deadline.
func (r *rig) has(want time.Duration) {
	r.t.Helper()
	if r.left() != want {
		r.t.Fatalf("has %v, want %v", r.left(), want)
	}
}

// TestLadderPauses: the first pauses end within a second and the patience for a frame.
func TestLadderPauses(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.begin()
		r.settling(50 * time.Millisecond)
		r.has(4 * time.Second)
		time.Sleep(time.Second)
		r.frame(time.Time{}) // an event: hello was not the last
		r.has(4 * time.Second)
		r.late()
		r.waits(0, 0)
		r.is(Poll, 0)
		r.page(50 * time.Millisecond)
		if r.saved.transport != Poll {
			t.Errorf("remembers %+v", r.saved)
		}
	})
	bubble(t, func(_ *testing.T, r *rig) { // a heartbeat ends one; the fourth may be long
		r.begin()
		r.settling(50 * time.Millisecond)
		for range 3 {
			r.has(4 * time.Second)
			time.Sleep(time.Second)
			r.heartbeat(10 * time.Millisecond)
			r.has(beat * 5 / 2)
			time.Sleep(8 * time.Second)
			r.frame(time.Time{})
		}
		r.has(beat * 5 / 2)
	})
	bubble(t, func(_ *testing.T, r *rig) { // an older server says nothing of pauses
		r.begin()
		r.hello()
		r.has(beat * 5 / 2)
	})
	bubble(t, func(_ *testing.T, r *rig) { // they were our own
		r.begin()
		r.settling(50 * time.Millisecond)
		time.Sleep(time.Second)
		r.stalled()
		r.has(beat * 5 / 2)
	})
}

// TestLadderHeldBack: a heartbeat comes only when the next frame does.
func TestLadderHeldBack(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) { // one that ends a pause
		r.begin()
		r.settling(50 * time.Millisecond)
		time.Sleep(3600 * time.Millisecond)
		r.heartbeat(2600 * time.Millisecond)
		if r.left() > 0 {
			t.Fatal("goes on with what is held back")
		}
		r.late()
		r.is(Poll, 0)
	})
	bubble(t, func(t *testing.T, r *rig) { // any other
		r.begin()
		r.settling(50 * time.Millisecond)
		for range 3 {
			time.Sleep(time.Second)
			r.frame(time.Time{})
			time.Sleep(time.Second)
			r.heartbeat(time.Second)
		}
		time.Sleep(beat)
		r.heartbeat(beat)
		if r.left() > 0 {
			t.Fatal("goes on with what is held back")
		}
		r.late()
		r.is(Poll, 0)
	})
}

// TestLadderNothingEndsAPause: is it the stream or the way?
func TestLadderNothingEndsAPause(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) { // there is no network
		r.begin()
		r.settling(50 * time.Millisecond)
		r.late()
		r.is(Poll, 0)
		r.cut(5 * time.Millisecond)
		if r.saved != (verdict{}) {
			t.Errorf("remembers %+v", r.saved)
		}
		r.is(Stream)
	})
	bubble(t, func(t *testing.T, r *rig) { // it is only slow
		r.begin()
		r.settling(2900 * time.Millisecond)
		r.late()
		r.is(Poll, 0)
		r.page(4 * time.Second)
		if r.saved != (verdict{}) {
			t.Errorf("remembers %+v", r.saved)
		}
		r.is(Stream)
		r.settling(50 * time.Millisecond)
		r.has(9 * time.Second)
	})
}
