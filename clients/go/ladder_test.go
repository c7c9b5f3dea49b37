package client

import (
	"testing"
	"testing/synctest"
	"time"
)

const beat = 15 * time.Second

// rig is a ladder and the ways in which attempts go, in the time of a synctest
// bubble.
type rig struct {
	*ladder
	t      *testing.T
	chance float64
	saved  verdict
	plan   plan
}

func newRig(t *testing.T, known verdict, forced Transport) *rig {
	r := &rig{t: t, chance: 0.5}
	r.ladder = newLadder(time.Now, func() float64 { return r.chance }, known, func(v verdict) { r.saved = v }, forced)
	return r
}

// bubble runs a test on fake time.
func bubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newRig(t, verdict{}, Auto)) })
}

func (r *rig) begin() plan {
	time.Sleep(r.delay)
	r.plan = r.ladder.begin()
	return r.plan
}

// is begins and wants a transport; a poll is to be held that long.
func (r *rig) is(want Transport, wait ...time.Duration) {
	r.t.Helper()
	if p := r.begin(); p.transport != want || len(wait) > 0 && p.wait != wait[0] {
		r.t.Fatalf("tries %+v, want %v %v", p, want, wait)
	}
}

// waits wants a delay before the next attempt, within bounds.
func (r *rig) waits(least, most time.Duration) {
	r.t.Helper()
	if r.delay < least || r.delay > most {
		r.t.Fatalf("waits %v, want %v to %v", r.delay, least, most)
	}
}

// late waits until the ladder gives the attempt up.
func (r *rig) late() {
	r.t.Helper()
	if r.deadline.IsZero() {
		r.t.Fatal("no deadline")
	}
	time.Sleep(r.left())
	r.ladder.end(ending{kind: endLate})
}

func (r *rig) ends(after time.Duration, e ending) {
	time.Sleep(after)
	r.ladder.end(e)
}

// cut ends the attempt by a reset.
func (r *rig) cut(after time.Duration) { r.ends(after, ending{}) }

func (r *rig) hello() {
	time.Sleep(50 * time.Millisecond)
	r.ladder.hello(beat, 2*time.Second)
}

// heartbeat was on the way for so long.
func (r *rig) heartbeat(age time.Duration) { r.frame(time.Now().Add(-age)) }

func (r *rig) page(after time.Duration, more ...ending) {
	time.Sleep(after)
	r.gotHeaders()
	e := ending{kind: endPage, empty: true}
	if len(more) > 0 {
		e = more[0]
		e.kind = endPage
	}
	r.ladder.end(e)
}

// buffered goes down to polling, confirmed, the way a buffering proxy does it.
func (r *rig) buffered() {
	r.t.Helper()
	r.is(Stream)
	r.late()
	r.is(Poll, 0)
	r.page(50 * time.Millisecond)
}

// polling goes there with no thought of the stream.
func polling(t *testing.T) *rig {
	r := newRig(t, verdict{Poll, longestWait, 0, time.Now().Add(1000 * time.Hour), 9}, Auto)
	r.begin()
	r.page(50 * time.Millisecond)
	return r
}

func TestLadderStreamFirst(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.is(Stream)
		if r.left() != 3*time.Second || r.up {
			t.Errorf("has %v, up %v", r.left(), r.up)
		}
		r.hello()
		if !r.up {
			t.Error("not up after hello")
		}
	})
}

func TestLadderBuffered(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.begin()
		r.late()
		r.waits(0, 0)
		r.is(Poll, 0) // not held: is there a way at all?
		if r.saved != (verdict{}) {
			t.Error("still in doubt, and remembered")
		}
		r.page(50 * time.Millisecond)
		if want := (verdict{Poll, longestWait, 0, time.Now().Add(time.Minute), 1}); r.saved != want || !r.up {
			t.Errorf("remembers %+v, want %+v", r.saved, want)
		}
		r.waits(0, 0)
		r.is(Poll, longestWait)
	})
}

// TestLadderNoNetwork: nothing came through the stream because nothing comes at all.
func TestLadderNoNetwork(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.begin()
		r.late()
		r.is(Poll)
		r.cut(5 * time.Millisecond)
		if r.saved != (verdict{}) || r.up {
			t.Errorf("remembers %+v, up %v", r.saved, r.up)
		}
		r.is(Stream)
	})
}

// TestLadderSlowNetwork: the stream gets the time it takes.
func TestLadderSlowNetwork(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.begin()
		r.late()
		r.is(Poll)
		r.page(4 * time.Second)
		if r.saved != (verdict{}) {
			t.Errorf("remembers %+v", r.saved)
		}
		r.is(Stream)
		if r.left() != 8*time.Second {
			t.Errorf("has %v", r.left())
		}
	})
}

func TestLadderRefusedStream(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.begin()
		r.cut(10 * time.Millisecond)
		r.is(Stream)
		r.ends(10*time.Millisecond, ending{kind: endForeign}) // counts alike
		r.is(Poll, 0)
		r.page(50 * time.Millisecond)
		if r.saved.transport != Poll {
			t.Errorf("remembers %+v", r.saved)
		}
	})
	bubble(t, func(_ *testing.T, r *rig) { // a hello forgets it
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

// TestLadderBatched: heartbeats that come together were withheld.
func TestLadderBatched(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.begin()
		r.hello()
		time.Sleep(30 * time.Second)
		r.heartbeat(15500 * time.Millisecond)
		if r.left() <= 0 {
			t.Fatal("one late heartbeat is no burst")
		}
		r.heartbeat(100 * time.Millisecond)
		if r.left() > 0 {
			t.Error("goes on with a burst")
		}
		r.frame(time.Time{}) // another of the same burst does not save it
		if r.left() > 0 {
			t.Error("goes on with a burst")
		}
		r.late()
		r.is(Poll, 0)
	})
}

func TestLadderNotBatched(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) { // late alike, or by another clock
		r.begin()
		r.hello()
		for _, age := range []time.Duration{3600, 3601, 3599, 3609} {
			time.Sleep(beat)
			r.heartbeat(age * time.Second)
		}
		if r.left() <= 0 {
			t.Error("a wrong clock is no burst")
		}
	})
	bubble(t, func(t *testing.T, r *rig) { // a catch-up
		r.begin()
		r.hello()
		for range 100 {
			r.frame(time.Time{})
		}
		if r.left() <= 0 {
			t.Error("old events are no burst")
		}
	})
	bubble(t, func(t *testing.T, r *rig) { // our own handlers were slow
		r.begin()
		r.hello()
		r.heartbeat(0)
		time.Sleep(100 * time.Second)
		r.stalled()
		if r.left() != beat*5/2 {
			t.Errorf("has %v after our own silence", r.left())
		}
		r.heartbeat(90 * time.Second)
		r.heartbeat(0)
		if r.left() <= 0 {
			t.Error("what we let wait is no burst")
		}
	})
}

func TestLadderSilence(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.begin()
		r.hello()
		if r.left() != beat*5/2 {
			t.Errorf("has %v", r.left())
		}
		r.late()
		r.waits(0, 0)
		r.is(Stream)
		r.hello()
		r.late()
		r.is(Poll, 0)
	})
	bubble(t, func(_ *testing.T, r *rig) { // after a long time it is half-open, not withheld
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

// TestLadderLifetime: where streams are cut at the same age, they end themselves
// before.
func TestLadderLifetime(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.begin()
		r.hello()
		r.cut(29950 * time.Millisecond)
		r.waits(0, 2*time.Second) // no longer than the server asked with retry
		r.begin()
		r.hello()
		r.cut(30100 * time.Millisecond)
		r.waits(0, 0)
		r.is(Stream)
		r.hello()
		if r.saved.life <= 20*time.Second || r.saved.life >= 30*time.Second || r.left() != r.saved.life-50*time.Millisecond {
			t.Errorf("has %v, remembers %+v", r.left(), r.saved)
		}
		time.Sleep(r.left())
		if !r.spent() {
			t.Error("its life as planned is no failure")
		}
		r.late()
		r.waits(0, 0)
		r.is(Stream)
		if !r.up {
			t.Error("not up")
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
		"the server ended one":   {func(r *rig) { r.cut(5 * time.Second) }, func(r *rig) { r.ends(5*time.Second, ending{kind: endAsked}) }, func(r *rig) { r.cut(5 * time.Second) }},
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
					t.Errorf("remembers %+v", r.saved)
				}
			})
		})
	}
}

// TestLadderShortLife: streams that are cut early are worth less than polls, which
// stay below that age.
func TestLadderShortLife(t *testing.T) {
	for age, wait := range map[time.Duration]time.Duration{
		2950 * time.Millisecond: 2100 * time.Millisecond,
		950 * time.Millisecond:  longestWait, // too early to be a clock
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

// TestLadderGatewayTimeout: polls that fail at the same age become shorter, down to
// short ones.
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
