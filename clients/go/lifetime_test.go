package culvert

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestLadderLifetime: if streams are cut at the same age, the client ends them
// before that age.
func TestLadderLifetime(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.begin()
		r.hello()
		r.cut(29950 * time.Millisecond)
		r.waits(0, 2*time.Second) // at most as long as the server asked with retry
		r.begin()
		r.hello()
		r.cut(30100 * time.Millisecond)
		r.waits(0, 0)
		r.is(Stream)
		r.hello()
		if r.saved.life <= 20*time.Second || r.saved.life >= 30*time.Second || r.left() != r.saved.life-50*time.Millisecond {
			t.Errorf("the attempt has %v left, remembers %+v", r.left(), r.saved)
		}
		time.Sleep(r.left())
		if !r.spent() {
			t.Error("the planned end of a stream is not a failure")
		}
		r.late()
		r.waits(0, 0)
		r.is(Stream)
		if !r.up {
			t.Error("the ladder is not up")
		}
		again := newRig(t, r.saved, Auto)
		again.is(Stream)
		again.hello()
		if again.left() != r.saved.life-50*time.Millisecond {
			t.Errorf("the next client has %v", again.left())
		}
	})
	for name, ways := range map[string][]func(r *rig){
		"differ":                 {func(r *rig) { r.cut(12 * time.Second) }, func(r *rig) { r.cut(29 * time.Second) }, func(r *rig) { r.cut(20 * time.Second) }},
		"the server ended one":   {func(r *rig) { r.cut(5 * time.Second) }, func(r *rig) { r.ends(5*time.Second, ending{kind: endComeBack}) }, func(r *rig) { r.cut(5 * time.Second) }},
		"one only went silent":   {func(r *rig) { r.cut(5 * time.Second) }, (*rig).late, func(r *rig) { r.cut(5 * time.Second) }},
		"the first was the only": {func(r *rig) { r.cut(time.Millisecond) }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				for _, way := range ways {
					r.is(Stream)
					r.hello()
					way(r)
					r.waits(0, 2*time.Second)
				}
				r.is(Stream)
				if r.saved != (verdict{}) {
					t.Errorf("the ladder remembers %+v", r.saved)
				}
			})
		})
	}
}

// TestLadderShortLife: polls replace streams that are cut early, and are shorter
// than that age.
func TestLadderShortLife(t *testing.T) {
	for age, wait := range map[time.Duration]time.Duration{
		2950 * time.Millisecond: 2100 * time.Millisecond,
		950 * time.Millisecond:  longestWait, // too early for a timeout of a proxy
	} {
		bubble(t, func(_ *testing.T, r *rig) {
			for range 2 {
				r.is(Stream)
				r.hello()
				r.cut(age)
			}
			r.is(Poll, 0)
			r.page(50 * time.Millisecond)
			r.is(Poll, wait)
		})
	}
}

// TestLadderGatewayTimeout: polls that fail at the same age become shorter, until they are
// not held.
func TestLadderGatewayTimeout(t *testing.T) {
	for cut, want := range map[time.Duration]time.Duration{
		20 * time.Second: 12500 * time.Millisecond, 10 * time.Second: 7 * time.Second,
		3 * time.Second: 2100 * time.Millisecond, 1200 * time.Millisecond: 0,
	} {
		synctest.Test(t, func(t *testing.T) {
			r := polling(t)
			for range 40 {
				r.is(Poll)
				if w := r.plan.wait; w != 0 && w != want && w != longestWait {
					t.Fatalf("cut at %v: waits %v", cut, w)
				}
				if r.plan.wait < cut {
					r.page(r.plan.wait + 50*time.Millisecond)
				} else {
					r.cut(cut)
				}
			}
			if r.saved.wait != want {
				t.Errorf("cut at %v: remembers %+v", cut, r.saved)
			}
			if want == 0 {
				r.waits(time.Second, 3*time.Second)
			}
		})
	}
}
