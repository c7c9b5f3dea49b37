package park

import (
	"sync"
	"sync/atomic"
)

// turn is how many jobs of a burst a worker takes before it is the turn of another burst.
const turn = 16

// The states of a job: see the package's comment.
const (
	parked int32 = iota
	queued
	running
	again // running, and woken since
	over
)

// job is something that workers do whenever it was woken.
type job struct {
	state atomic.Int32
	queue *queue
	lane  *lane
	next  *job // in its burst
	do    func()
}

// Wake makes a worker run the job, unless it is going to anyway. Any goroutine may call it; it never blocks for
// long. Jobs that are woken one after the other with the same burst take their turns together.
func (j *job) Wake(burst uint64) {
	for {
		switch j.state.Load() {
		case parked:
			if j.state.CompareAndSwap(parked, queued) {
				j.queue.put(j, burst)
				return
			}
		case running:
			if j.state.CompareAndSwap(running, again) {
				return
			}
		default:
			return
		}
	}
}

// Park ends a run: from now on Wake makes a worker run the job. Only who runs it may call this, and must not touch
// what belongs to the run any more.
func (j *job) Park() {
	if !j.state.CompareAndSwap(running, parked) {
		j.state.Store(queued)
		j.queue.put(j, 0)
	}
}

// lane has the jobs of those that share a turn.
type lane struct {
	name        string
	jobs        int    // that exist, queued or not
	first, last *burst // those with queued jobs
	next        *lane  // in the queue; only lanes with bursts are there
}

// burst are jobs that were woken for one cause.
type burst struct {
	id          uint64
	first, last *job
	next        *burst // in its lane
}

// queue are the jobs that were woken and have not run yet.
type queue struct {
	mu          sync.Mutex
	some        sync.Cond
	idle        int // workers that wait and were not signalled
	stopped     bool
	lanes       map[string]*lane
	first, last *lane
	spare       *burst // to use again
}

func newQueue() *queue {
	q := &queue{lanes: map[string]*lane{}}
	q.some.L = &q.mu
	return q
}

// add makes a job, which is running. Its owner must call remove.
func (q *queue) add(j *job, name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lanes[name]
	if l == nil {
		l = &lane{name: name}
		q.lanes[name] = l
	}
	l.jobs++
	j.queue, j.lane = q, l
	j.state.Store(running)
}

// remove ends a job that is running.
func (q *queue) remove(j *job) {
	j.state.Store(over)
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.lane.jobs--; j.lane.jobs == 0 {
		delete(q.lanes, j.lane.name)
	}
}

func (q *queue) put(j *job, id uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := j.lane
	if l.first == nil {
		q.addLane(l)
	}
	b := l.last
	if b == nil || b.id != id {
		b = q.newBurst(id)
		l.addBurst(b)
	}
	if b.first == nil {
		b.first = j
	} else {
		b.last.next = j
	}
	b.last = j
	q.signal()
}

// signal wakes a worker, if one waits. The caller holds the lock.
func (q *queue) signal() {
	if q.idle > 0 {
		q.idle--
		q.some.Signal()
	}
}

// take waits for jobs, and takes some of one burst. It returns none when the queue is stopped.
func (q *queue) take(into []*job) []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.first == nil {
		if q.stopped {
			return nil
		}
		q.idle++
		q.some.Wait()
	}
	l := q.first
	b := l.first
	for b.first != nil && len(into) < cap(into) {
		j := b.first
		b.first, j.next = j.next, nil
		into = append(into, j)
	}
	// The lane and the burst go to the end, if they have more.
	if l.first = b.next; l.first == nil {
		l.last = nil
	}
	if b.next = nil; b.first == nil {
		b.last, b.next, q.spare = nil, q.spare, b
	} else {
		l.addBurst(b)
	}
	if q.first = l.next; q.first == nil {
		q.last = nil
	}
	if l.next = nil; l.first != nil {
		q.addLane(l)
	}
	if q.first != nil {
		q.signal() // one wake signals one worker: it signals the next
	}
	return into
}

func (q *queue) addLane(l *lane) {
	if q.last == nil {
		q.first = l
	} else {
		q.last.next = l
	}
	q.last = l
}

func (l *lane) addBurst(b *burst) {
	if l.last == nil {
		l.first = b
	} else {
		l.last.next = b
	}
	l.last = b
}

func (q *queue) newBurst(id uint64) *burst {
	b := q.spare
	if b == nil {
		return &burst{id: id}
	}
	q.spare, b.next, b.id = b.next, nil, id
	return b
}

// stop ends take, once nothing is queued.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.some.Broadcast()
}
