package api

import "time"

// alarm is a timer for a select that mostly takes another case. Each time a select
// waits for the channel of a time.Timer, the runtime puts it among its timers, and
// takes it out again after; this one stays there. It may fire once more after it was set
// anew.
type alarm struct {
	C     chan struct{}
	timer *time.Timer
}

func newAlarm(d time.Duration) *alarm {
	c := make(chan struct{}, 1)
	return &alarm{c, time.AfterFunc(d, func() {
		select {
		case c <- struct{}{}:
		default:
		}
	})}
}

func (a *alarm) set(d time.Duration) { a.timer.Reset(d) }

func (a *alarm) stop() { a.timer.Stop() }
