package culvert

import (
	"testing"
	"time"
)

func TestLadderStreamFirst(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.is(Stream)
		if r.left() != 3*time.Second || r.up {
			t.Errorf("the attempt has %v left, up %v", r.left(), r.up)
		}
		r.hello()
		if !r.up {
			t.Error("the ladder is not up after hello")
		}
	})
}

func TestLadderBuffered(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.begin()
		r.late()
		r.waits(0, 0)
		r.is(Poll, 0) // not held: does anything get through?
		if r.saved != (verdict{}) {
			t.Error("a verdict was saved before it was certain")
		}
		r.page(50 * time.Millisecond)
		if want := (verdict{Poll, longestWait, 0, time.Now().Add(time.Minute), 1}); r.saved != want || !r.up {
			t.Errorf("the ladder remembers %+v, want %+v", r.saved, want)
		}
		r.waits(0, 0)
		r.is(Poll, longestWait)
	})
}

// TestLadderNoNetwork: nothing came through the stream because there is no network.
func TestLadderNoNetwork(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.begin()
		r.late()
		r.is(Poll)
		r.cut(5 * time.Millisecond)
		if r.saved != (verdict{}) || r.up {
			t.Errorf("the ladder remembers %+v, up %v", r.saved, r.up)
		}
		r.is(Stream)
	})
}

// TestLadderSlowNetwork: the stream gets the time that a slow network needs.
func TestLadderSlowNetwork(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.begin()
		r.late()
		r.is(Poll)
		r.page(4 * time.Second)
		if r.saved != (verdict{}) {
			t.Errorf("the ladder remembers %+v", r.saved)
		}
		r.is(Stream)
		if r.left() != 8*time.Second {
			t.Errorf("the attempt has %v left", r.left())
		}
	})
}

func TestLadderRefusedStream(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.begin()
		r.cut(10 * time.Millisecond)
		r.is(Stream)
		r.ends(10*time.Millisecond, ending{kind: endForeign}) // counts the same
		r.is(Poll, 0)
		r.page(50 * time.Millisecond)
		if r.saved.transport != Poll {
			t.Errorf("the ladder remembers %+v", r.saved)
		}
	})
	bubble(t, func(_ *testing.T, r *rig) { // a hello resets the count
		r.begin()
		r.cut(10 * time.Millisecond)
		r.is(Stream)
		r.hello()
		r.cut(20 * time.Second)
		r.is(Stream)
		r.cut(10 * time.Millisecond)
		r.is(Stream)
	})
}

// TestLadderBatched: heartbeats that arrive together were held back.
func TestLadderBatched(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.begin()
		r.hello()
		time.Sleep(30 * time.Second)
		r.heartbeat(15500 * time.Millisecond)
		if r.left() <= 0 {
			t.Fatal("one late heartbeat is not a burst")
		}
		r.heartbeat(100 * time.Millisecond)
		if r.left() > 0 {
			t.Error("the ladder stays with a stream that comes in bursts")
		}
		r.frame(time.Time{}) // another of the same burst does not save it
		if r.left() > 0 {
			t.Error("the ladder stays with a stream that comes in bursts")
		}
		r.late()
		r.is(Poll, 0)
	})
}

func TestLadderNotBatched(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) { // all are equally late, or the clocks differ
		r.begin()
		r.hello()
		for _, age := range []time.Duration{3600, 3601, 3599, 3609} {
			time.Sleep(beat)
			r.heartbeat(age * time.Second)
		}
		if r.left() <= 0 {
			t.Error("a wrong clock is not a burst")
		}
	})
	bubble(t, func(t *testing.T, r *rig) { // a catch-up
		r.begin()
		r.hello()
		for range 100 {
			r.frame(time.Time{})
		}
		if r.left() <= 0 {
			t.Error("old events are not a burst")
		}
	})
	bubble(t, func(t *testing.T, r *rig) { // the client's own handlers were slow
		r.begin()
		r.hello()
		r.heartbeat(0)
		time.Sleep(100 * time.Second)
		r.stalled()
		if r.left() != beat*5/2 {
			t.Errorf("the attempt has %v left after a silence that the client caused", r.left())
		}
		r.heartbeat(90 * time.Second)
		r.heartbeat(0)
		if r.left() <= 0 {
			t.Error("frames that the client let wait are not a burst")
		}
	})
}

func TestLadderSilence(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.begin()
		r.hello()
		if r.left() != beat*5/2 {
			t.Errorf("the attempt has %v left", r.left())
		}
		r.late()
		r.waits(0, 0)
		r.is(Stream)
		r.hello()
		r.late()
		r.is(Poll, 0)
	})
	bubble(t, func(_ *testing.T, r *rig) { // after a long time the connection is half-open, not held back
		for range 4 {
			r.is(Stream)
			r.hello()
			for range 3 {
				time.Sleep(beat)
				r.heartbeat(0)
			}
			r.late()
		}
		r.is(Stream)
	})
}
