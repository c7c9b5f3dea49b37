package culvert

import (
	"testing"
	"testing/synctest"
	"time"
)

const beat = 15 * time.Second

// rig is a ladder with methods for the outcomes of attempts, on the fake time of a synctest
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

// is begins an attempt and checks its transport, and for a poll how long it is held.
func (r *rig) is(want Transport, wait ...time.Duration) {
	r.t.Helper()
	if p := r.begin(); p.transport != want || len(wait) > 0 && p.wait != wait[0] {
		r.t.Fatalf("the ladder tries %+v, want %v %v", p, want, wait)
	}
}

// waits checks that the delay before the next attempt is within bounds.
func (r *rig) waits(least, most time.Duration) {
	r.t.Helper()
	if r.delay < least || r.delay > most {
		r.t.Fatalf("the ladder waits %v, want %v to %v", r.delay, least, most)
	}
}

// late waits until the ladder gives the attempt up.
func (r *rig) late() {
	r.t.Helper()
	if r.deadline.IsZero() {
		r.t.Fatal("the attempt has no deadline")
	}
	time.Sleep(r.left())
	r.ladder.end(ending{kind: endTimedOut})
}

func (r *rig) ends(after time.Duration, e ending) {
	time.Sleep(after)
	r.ladder.end(e)
}

// cut ends the attempt by a reset.
func (r *rig) cut(after time.Duration) { r.ends(after, ending{kind: endClosed}) }

func (r *rig) hello() {
	time.Sleep(50 * time.Millisecond)
	r.ladder.hello(greeting{heartbeat: beat, retry: 2 * time.Second})
}

// settling gets the hello of a server that ends the first pauses after a second.
func (r *rig) settling(after time.Duration) {
	time.Sleep(after)
	r.ladder.hello(greeting{
		heartbeat: beat, retry: 2 * time.Second, settle: time.Second, at: time.Now().Add(-10 * time.Millisecond),
	})
}

// heartbeat gets a heartbeat of the given age.
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

// buffered makes the ladder go to polling, as behind a buffering proxy.
func (r *rig) buffered() {
	r.t.Helper()
	r.is(Stream)
	r.late()
	r.is(Poll, 0)
	r.page(50 * time.Millisecond)
}

// polling returns a rig that insists on polls and is polling.
func polling(t *testing.T) *rig {
	r := newRig(t, verdict{Poll, longestWait, 0, time.Now().Add(1000 * time.Hour), 9}, Auto)
	r.begin()
	r.page(50 * time.Millisecond)
	return r
}
