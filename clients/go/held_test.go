package culvert

import (
	"testing"
	"time"
)

// has checks the time until the deadline.
func (r *rig) has(want time.Duration) {
	r.t.Helper()
	if r.left() != want {
		r.t.Fatalf("the attempt has %v left, want %v", r.left(), want)
	}
}

// TestLadderPauses: the heartbeats that end the first pauses must come within a second and the patience for a frame.
func TestLadderPauses(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.begin()
		r.settling(50 * time.Millisecond)
		r.has(4 * time.Second)
		time.Sleep(time.Second)
		r.frame(time.Time{}) // an event: another pause begins
		r.has(4 * time.Second)
		r.late()
		r.waits(0, 0)
		r.is(Poll, 0)
		r.page(50 * time.Millisecond)
		if r.saved.transport != Poll {
			t.Errorf("the ladder remembers %+v", r.saved)
		}
	})
	bubble(t, func(_ *testing.T, r *rig) { // a heartbeat ends a pause; the fourth may be long
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
	bubble(t, func(_ *testing.T, r *rig) { // the client's own handlers caused the pauses
		r.begin()
		r.settling(50 * time.Millisecond)
		time.Sleep(time.Second)
		r.stalled()
		r.has(beat * 5 / 2)
	})
}

// TestLadderHeldBack: a heartbeat is held back until the next frame.
func TestLadderHeldBack(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) { // a heartbeat that ends a pause
		r.begin()
		r.settling(50 * time.Millisecond)
		time.Sleep(3600 * time.Millisecond)
		r.heartbeat(2600 * time.Millisecond)
		if r.left() > 0 {
			t.Fatal("the ladder stays with a stream that is held back")
		}
		r.late()
		r.is(Poll, 0)
	})
	bubble(t, func(t *testing.T, r *rig) { // any other heartbeat
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
			t.Fatal("the ladder stays with a stream that is held back")
		}
		r.late()
		r.is(Poll, 0)
	})
}

// TestLadderNothingEndsAPause: the ladder finds out whether the stream or the network failed.
func TestLadderNothingEndsAPause(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) { // there is no network
		r.begin()
		r.settling(50 * time.Millisecond)
		r.late()
		r.is(Poll, 0)
		r.cut(5 * time.Millisecond)
		if r.saved != (verdict{}) {
			t.Errorf("the ladder remembers %+v", r.saved)
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
			t.Errorf("the ladder remembers %+v", r.saved)
		}
		r.is(Stream)
		r.settling(50 * time.Millisecond)
		r.has(9 * time.Second)
	})
}
