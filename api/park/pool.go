package park

import (
	"runtime"
	"sync"
	"time"
)

// Pool has the connections, and the goroutines that serve them.
type Pool struct {
	m machinery

	mu      sync.Mutex
	closed  bool
	conns   int
	empty   sync.Cond
	serving sync.WaitGroup
}

// New starts a pool. timeout is how long a peer may take to read one piece of output. Close must be called.
// Errors: the system has no more descriptors.
func New(timeout time.Duration) (*Pool, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	p := &Pool{}
	p.m.queue, p.m.timers, p.m.poller, p.m.timeout, p.m.gone = newQueue(), newTimers(), poll, timeout, p.gone
	p.empty.L = &p.mu
	p.serving.Go(poll.run)
	p.serving.Go(p.m.timers.run)
	for range runtime.GOMAXPROCS(0) {
		p.serving.Go(p.work)
	}
	return p, nil
}

func (p *Pool) work() {
	jobs := make([]*job, 0, turn)
	for {
		jobs = p.m.queue.take(jobs[:0])
		if len(jobs) == 0 {
			return
		}
		for _, j := range jobs {
			j.state.Store(running)
			j.do()
		}
		clear(jobs)
		runtime.Gosched() // without it, others would wait until the scheduler interrupts this worker
	}
}

// Conn makes a connection of a lane, as if it were run by the caller: wakes that come before Park are kept. The caller
// must call Attach and then Park or Close; or Drop. It returns nil if the pool is closed.
func (p *Pool) Conn(lane string) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.conns++
	c := &Conn{m: &p.m}
	c.alarm.job = &c.job
	p.m.queue.add(&c.job, lane)
	return c
}

func (p *Pool) gone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns--; p.conns == 0 {
		p.empty.Broadcast()
	}
}

// Close calls Left for all runners, waits until they have closed their connections, and ends the goroutines.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.m.closing.Store(true)
	p.m.poller.each(watched.left)
	p.mu.Lock()
	for p.conns > 0 {
		p.empty.Wait()
	}
	p.mu.Unlock()
	p.m.queue.stop()
	p.m.timers.stop()
	p.m.poller.stop()
	p.serving.Wait()
}
