package culvert

import (
	"testing"
	"time"
)

// silentAfter makes streams whose last frame comes at each of these ages.
func (r *rig) silentAfter(ages ...time.Duration) {
	r.t.Helper()
	r.is(Stream)
	r.ladder.hello(greeting{heartbeat: beat, retry: 2 * time.Second})
	for _, age := range ages {
		time.Sleep(age - r.age())
		r.frame(time.Time{})
	}
	r.late()
}

// TestLadderForgottenConnections: polls are shorter than the age at which something forgets
// connections.
func TestLadderForgottenConnections(t *testing.T) {
	for name, c := range map[string]struct {
		ages [][]time.Duration
		want time.Duration
	}{
		"at 4 s":                  {[][]time.Duration{{time.Second, 4 * time.Second}, {500 * time.Millisecond}}, 2800 * time.Millisecond},
		"at once":                 {[][]time.Duration{nil, nil}, longestWait},
		"too early to be a clock": {[][]time.Duration{{time.Second}, {1900 * time.Millisecond}}, longestWait},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(_ *testing.T, r *rig) {
				for _, ages := range c.ages {
					r.silentAfter(ages...)
				}
				r.is(Poll, 0)
				r.page(50 * time.Millisecond)
				r.is(Poll, c.want)
			})
		})
	}
	bubble(t, func(_ *testing.T, r *rig) { // frames of an earlier series do not count
		r.silentAfter(30 * time.Second)
		r.is(Stream)
		r.hello()
		time.Sleep(40 * time.Second)
		r.frame(time.Time{}) // the stream lives: the count begins anew
		r.ends(0, ending{kind: endComeBack})
		r.silentAfter(2500 * time.Millisecond)
		r.silentAfter(2100 * time.Millisecond)
		r.is(Poll, 0)
		r.page(50 * time.Millisecond)
		r.is(Poll, 1700*time.Millisecond)
	})
}

// TestLadderSilenceAfterOurs: frames that the client let wait may have arrived long before they
// were read. They neither prove that the stream lives nor show at which age a connection is forgotten.
func TestLadderSilenceAfterOurs(t *testing.T) {
	stall := func(r *rig) {
		r.is(Stream)
		r.hello()
		time.Sleep(3*time.Second - r.age())
		r.frame(time.Time{})
		time.Sleep(time.Minute)
		r.stalled()
	}
	bubble(t, func(_ *testing.T, r *rig) {
		for range 2 {
			stall(r)
			r.late()
		}
		r.is(Poll, 0)
		r.page(50 * time.Millisecond)
		r.is(Poll, 2100*time.Millisecond)
	})
	bubble(t, func(_ *testing.T, r *rig) {
		for range 2 {
			stall(r)
			r.frame(time.Time{})
			r.late()
		}
		r.is(Poll, 0)
	})
	bubble(t, func(_ *testing.T, r *rig) { // a frame that is read in time proves it, as usual
		for range 4 {
			stall(r)
			for range 3 {
				time.Sleep(beat)
				r.heartbeat(0)
			}
			r.late()
		}
		r.is(Stream)
	})
}
