package park

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvertmq/culvert/api/internal/apitest"
)

// jobs makes parked jobs of a lane.
func jobs(q *queue, lane string, n int) []*job {
	all := make([]*job, n)
	for i := range all {
		all[i] = &job{}
		q.add(all[i], lane)
		all[i].Park()
	}
	return all
}

func wake(all []*job, burst uint64) {
	for _, j := range all {
		j.Wake(burst)
	}
}

// A room with thousands of readers, and a namespace with thousands of rooms, do not delay one with few.
func TestFewDoNotWaitForMany(t *testing.T) {
	q := newQueue()
	crowd, few, other := jobs(q, "a", 5000), jobs(q, "a", 5), jobs(q, "b", 5)
	wake(crowd, 1)
	wake(few, 2)
	for i, j := range jobs(q, "a", 100) {
		j.Wake(uint64(10 + i)) // as many rooms with one reader each
	}
	wake(other, 3)
	taken := map[*job]int{}
	for n := 0; q.first != nil; {
		for _, j := range q.take(make([]*job, 0, turn)) {
			n++
			taken[j] = n
		}
	}
	if len(taken) != 5110 {
		t.Fatalf("%d jobs were taken, want 5110", len(taken))
	}
	for i := range few {
		if at := taken[few[i]]; at > 4*turn {
			t.Errorf("a job of a small burst is number %d", at)
		}
		if at := taken[other[i]]; at > 4*turn {
			t.Errorf("a job of another lane is number %d", at)
		}
	}
	for i := range crowd[1:] {
		if taken[crowd[i]] > taken[crowd[i+1]] {
			t.Fatal("a burst is not in the order of its wakes")
		}
	}
}

// A job that is woken at any time runs afterwards: none of the wakes is lost between its last look and its parking.
func TestNoWakeIsLost(t *testing.T) {
	p := newPool(t)
	c := p.Conn("a")
	var posted, seen atomic.Int64
	c.do = func() {
		seen.Store(posted.Load())
		c.Park()
	}
	c.Park()
	for range 500 {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				posted.Add(1)
				c.Wake(0)
			})
		}
		all.Wait()
		for deadline := time.Now().Add(5 * time.Second); seen.Load() != posted.Load(); time.Sleep(time.Microsecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d were seen", seen.Load(), posted.Load())
			}
		}
	}
	c.state.Store(running)
	c.Drop()
}

// A wake that comes while a job runs, after its last look, makes it run again.
func TestAWakeDuringARunCounts(t *testing.T) {
	q := newQueue()
	j := jobs(q, "a", 1)[0]
	j.Wake(0)
	if got := q.take(make([]*job, 0, turn)); len(got) != 1 {
		t.Fatalf("%d jobs", len(got))
	}
	j.state.Store(running)
	j.Wake(7)
	j.Wake(7)
	if q.first != nil {
		t.Error("it is queued while it runs")
	}
	j.Park()
	if q.first == nil || j.state.Load() != queued {
		t.Error("the wake is lost")
	}
}

// A job never runs twice at a time.
func TestAJobRunsAlone(t *testing.T) {
	p := newPool(t)
	c := p.Conn("a")
	var inside, runs atomic.Int64
	c.do = func() {
		if inside.Add(1) != 1 {
			t.Error("it runs twice at a time")
		}
		runs.Add(1)
		inside.Add(-1)
		c.Park()
	}
	c.Park()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 2000 {
				c.Wake(0)
			}
		})
	}
	all.Wait()
	apitest.Until(t, func() bool { return c.state.Load() == parked })
	if runs.Load() == 0 {
		t.Error("it never ran")
	}
	c.state.Store(running)
	c.Drop()
}

// An alarm moves to an earlier time only, and wakes once.
func TestAlarms(t *testing.T) {
	w := newTimers()
	q := newQueue()
	all := jobs(q, "a", 3)
	alarms := make([]alarm, len(all))
	now := time.Now()
	for i := range alarms {
		alarms[i].job = all[i]
		w.set(&alarms[i], now.Add(time.Duration(3-i)*time.Second))
	}
	w.set(&alarms[0], now.Add(time.Minute)) // ignored
	w.clear(&alarms[1])
	for after, want := range map[time.Duration]time.Duration{500 * time.Millisecond: 500 * time.Millisecond} {
		if wait := w.ring(now.Add(after)); wait != want {
			t.Errorf("the next alarm is in %v, want %v", wait, want)
		}
	}
	if wait := w.ring(now.Add(time.Second)); wait != 2*time.Second || all[2].state.Load() != queued {
		t.Errorf("the next alarm is in %v", wait)
	}
	w.ring(now.Add(3 * time.Second))
	if all[0].state.Load() != queued || all[1].state.Load() != parked {
		t.Error("the wrong jobs were woken")
	}
}
