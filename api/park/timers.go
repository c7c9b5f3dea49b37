package park

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"
)

// alarm wakes a job at a time.
type alarm struct {
	job   *job
	at    time.Time
	index int         // in timers.all, plus one; 0: it is not set
	due   atomic.Bool // set, and not rung yet: at may be read without the lock by whoever runs the job
}

// timers wake jobs with one timer for all of them.
type timers struct {
	mu      sync.Mutex
	all     alarms
	sooner  chan struct{} // the first alarm has changed
	stopped chan struct{}
}

func newTimers() *timers {
	return &timers{sooner: make(chan struct{}, 1), stopped: make(chan struct{})}
}

// set makes the alarm wake its job at a time, or sooner if it was set so: a job that is woken too early sets it
// again. So an alarm that moves on with each write costs nothing.
func (t *timers) set(a *alarm, at time.Time) {
	if a.due.Load() && !at.Before(a.at) {
		return // so it is nearly always
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case a.index == 0:
		a.at = at
		a.due.Store(true)
		heap.Push(&t.all, a)
	case at.Before(a.at):
		a.at = at
		heap.Fix(&t.all, a.index-1)
	default:
		return
	}
	if a.index == 1 {
		select {
		case t.sooner <- struct{}{}:
		default:
		}
	}
}

func (t *timers) clear(a *alarm) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.index > 0 {
		a.due.Store(false)
		heap.Remove(&t.all, a.index-1)
	}
}

// run wakes jobs until stop.
func (t *timers) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(t.ring(time.Now()))
		select {
		case <-timer.C:
		case <-t.sooner:
		case <-t.stopped:
			return
		}
	}
}

// ring wakes the jobs whose time has come, and returns how long it takes until the next.
func (t *timers) ring(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.all) > 0 {
		first := t.all[0]
		if wait := first.at.Sub(now); wait > 0 {
			return wait
		}
		heap.Pop(&t.all)
		first.due.Store(false)
		first.job.Wake(0)
	}
	return time.Hour
}

func (t *timers) stop() { close(t.stopped) }

// alarms are a heap; the first is the earliest.
type alarms []*alarm

// Len implements heap.Interface.
func (h alarms) Len() int { return len(h) }

// Less implements heap.Interface.
func (h alarms) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

// Swap implements heap.Interface.
func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}

// Push implements heap.Interface.
func (h *alarms) Push(x any) {
	a, ok := x.(*alarm)
	if !ok {
		return
	}
	*h = append(*h, a)
	a.index = len(*h)
}

// Pop implements heap.Interface.
func (h *alarms) Pop() any {
	last := len(*h) - 1
	a := (*h)[last]
	(*h)[last], a.index = nil, 0
	*h = (*h)[:last]
	return a
}
