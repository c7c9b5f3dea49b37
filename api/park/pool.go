package park

import (
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"
)

// Pool has the connections, and the goroutines that serve them.
type Pool struct {
	m   machinery
	log *slog.Logger

	mu      sync.Mutex
	started bool
	closed  bool // or not possible
	conns   int
	empty   sync.Cond
	serving sync.WaitGroup
}

// New makes a pool, which starts with its first connection. timeout is how long a peer may take to read one piece of
// output. Close must be called.
func New(timeout time.Duration, log *slog.Logger) *Pool {
	p := &Pool{log: log}
	p.m.queue, p.m.timers, p.m.timeout, p.m.enter, p.m.gone = newQueue(), newTimers(), timeout, p.enter, p.gone
	p.empty.L = &p.mu
	return p
}

// start starts the goroutines, and reports whether there can be connections. The caller holds the lock.
func (p *Pool) start() bool {
	if p.started || p.closed {
		return !p.closed
	}
	poll, err := newPoller()
	if err != nil {
		p.closed = errors.Is(err, errors.ErrUnsupported) // otherwise the next stream tries again
		p.log.Info("streams are not parked: each has a goroutine", "error", err)
		return false
	}
	p.started, p.m.poller = true, poll
	p.serving.Go(poll.run)
	p.serving.Go(p.m.timers.run)
	for range runtime.GOMAXPROCS(0) {
		p.serving.Go(p.work)
	}
	return true
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
// must call Attach and then Park or Close; or Drop. It returns nil if the pool is closed, or not possible on this
// system.
func (p *Pool) Conn(lane string) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.start() {
		return nil
	}
	c := &Conn{m: &p.m}
	c.alarm.job = &c.job
	p.m.queue.add(&c.job, lane)
	return c
}

// enter counts a connection, unless the pool is closed.
func (p *Pool) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.conns++
	return true
}

func (p *Pool) gone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns--; p.conns == 0 {
		p.empty.Broadcast()
	}
}

// Len returns how many connections there are.
func (p *Pool) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns
}

// Close calls Left for all runners, waits until they have closed their connections, and ends the goroutines.
func (p *Pool) Close() {
	p.mu.Lock()
	started := p.started
	p.started, p.closed = false, true
	p.mu.Unlock()
	if !started {
		return
	}
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
