package culvert

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestLadderOneFailure: one failed poll or stream counts as chance, two in a row do not.
func TestLadderOneFailure(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.buffered()
		for _, e := range []ending{{kind: endClosed}, {kind: endForeign}, {kind: endTimedOut}} {
			r.is(Poll, longestWait)
			r.ends(5*time.Millisecond, e)
			r.waits(0, 500*time.Millisecond)
			if !r.up {
				t.Errorf("%+v: one failure does not count as a lost connection", e)
			}
			r.is(Poll, 0)
			r.page(50 * time.Millisecond)
		}
		for _, age := range []time.Duration{5 * time.Millisecond, 10 * time.Second} {
			r.is(Poll, longestWait)
			r.cut(age)
			r.is(Poll, 0)
			r.cut(5 * time.Millisecond)
			if r.up {
				t.Errorf("the ladder counts as up after two failures, the first at %v", age)
			}
			r.is(Poll, 0)
			r.page(50 * time.Millisecond)
		}
	})
	bubble(t, func(t *testing.T, r *rig) {
		r.is(Stream)
		r.cut(10 * time.Millisecond)
		if r.up {
			t.Error("the ladder counts as up before anything worked")
		}
		r.is(Stream)
		r.hello()
		r.cut(20 * time.Second)
		r.is(Stream)
		r.cut(10 * time.Millisecond)
		r.waits(0, 500*time.Millisecond)
		if !r.up {
			t.Error("one refusal does not count as a lost connection")
		}
		r.is(Stream)
		r.cut(10 * time.Millisecond)
		r.is(Poll, 0)
		r.cut(10 * time.Millisecond) // while checking, this means that the stream did not fail
		if r.up || r.saved != (verdict{}) {
			t.Errorf("the ladder is up: %v, and remembers %+v", r.up, r.saved)
		}
		r.is(Stream)
	})
}

// TestLadderLate: after a late request the next one has twice the time, up to 30 s; an answer
// resets that.
func TestLadderLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := polling(t)
		var seen []time.Duration
		for range 6 {
			r.is(Poll)
			seen = append(seen, r.left()-r.plan.wait)
			r.late()
		}
		if want := []time.Duration{3, 6, 12, 24, 30, 30}; !slices.Equal(seen, scaled(want)) {
			t.Errorf("the attempt has %v left", seen)
		}
		r.is(Poll, 0)
		r.page(5 * time.Second)
		r.is(Poll)
		if left := r.left() - r.plan.wait; left != 10*time.Second {
			t.Errorf("the attempt has %v left, not twice what a request takes", left)
		}
	})
}

func scaled(seconds []time.Duration) (all []time.Duration) {
	for _, s := range seconds {
		all = append(all, s*time.Second)
	}
	return all
}

// TestLadderCutSoon: three streams that are cut soon, at whatever age, lead to polls.
func TestLadderCutSoon(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, age := range []time.Duration{2500, 9000, 5500} {
			r.is(Stream)
			r.hello()
			r.cut(age * time.Millisecond)
		}
		r.is(Poll, 0)
		r.page(50 * time.Millisecond)
		r.is(Poll, 6300*time.Millisecond) // below the longest of them
	})
	for want, ages := range map[time.Duration][]time.Duration{
		1800 * time.Millisecond: {9000, 2500, 2600},              // two equal ages count more
		longestWait:             {9000, 12_000, 900, 1400, 1900}, // too early for a timeout of a proxy
	} {
		bubble(t, func(t *testing.T, r *rig) {
			for _, age := range ages {
				r.is(Stream)
				r.hello()
				r.cut(age * time.Millisecond)
			}
			r.is(Poll, 0)
			r.page(50 * time.Millisecond)
			r.is(Poll, want)
		})
	}
	for name, between := range map[string]func(r *rig){
		"one that lived":        func(r *rig) { r.cut(12 * time.Second) },
		"one that was asked to": func(r *rig) { r.ends(time.Second, ending{kind: endComeBack}) },
		"one we ended":          func(r *rig) { r.ends(time.Minute, ending{kind: endWoken}) },
		"one that went silent":  (*rig).late,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(_ *testing.T, r *rig) {
				for _, age := range []time.Duration{2500, 5500, 0, 2500, 5500} {
					r.is(Stream)
					r.hello()
					if age == 0 {
						between(r)
						continue
					}
					r.cut(age * time.Millisecond)
				}
				r.is(Stream)
			})
		})
	}
}

// TestLadderAfresh: after polling, a stream that works again is judged anew.
func TestLadderAfresh(t *testing.T) {
	trial := func(r *rig) {
		for r.begin().transport == Poll {
			r.page(max(r.plan.wait, 50*time.Millisecond))
		}
		r.hello()
	}
	bubble(t, func(_ *testing.T, r *rig) {
		for _, age := range []time.Duration{2500, 5500, 9000} {
			r.is(Stream)
			r.hello()
			r.cut(age * time.Millisecond)
		}
		trial(r)
		r.cut(4 * time.Second)
		r.is(Stream)
	})
	bubble(t, func(_ *testing.T, r *rig) {
		r.silentAfter()
		r.silentAfter()
		trial(r)
		r.late()
		r.is(Stream)
	})
	bubble(t, func(_ *testing.T, r *rig) { // and so are the polls after it
		r.buffered()
		r.is(Poll, longestWait)
		r.cut(10 * time.Second)
		for r.begin().transport == Poll {
			r.page(r.plan.wait * 8 / 10)
		}
		r.hello()
		r.late()
		r.silentAfter()
		r.is(Poll, 0)
		r.page(50 * time.Millisecond)
		r.is(Poll, longestWait)
		r.cut(10 * time.Second)
		r.is(Poll, 0)
		r.page(50 * time.Millisecond)
		r.is(Poll, longestWait)
	})
}
