package park

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Runner says what happens on a connection.
type Runner interface {
	// Run is called by one goroutine at a time when the connection was woken. It must not block.
	Run() Verdict
	// Left is called when the peer has left or the Pool closes. It may be called at any time and several times. It must
	// not block. Run follows, and should close the connection.
	Left()
}

// Verdict is what Run returns.
type Verdict int

// Verdicts of Run.
const (
	// Keep says that the connection is run by another goroutine, which calls Park, or that it was closed. It is also
	// what a Run returns that has recovered from a panic.
	Keep Verdict = iota
	// Parks says that the connection waits for the next wake.
	Parks
)

// machinery is what connections of a pool share.
type machinery struct {
	queue   *queue
	timers  *timers
	poller  *poller
	timeout time.Duration // for a piece of output
	enter   func() bool   // counts a connection; false: the pool is closed
	gone    func()        // a connection was closed
	closing atomic.Bool
}

// Conn is a connection without a goroutine. Its methods are for whoever runs it, except for Wake.
type Conn struct {
	job
	alarm   alarm
	m       *machinery
	runner  Runner
	socket  socket
	id      uint64      // the poller's
	out     *output     // nil: nothing is being written
	full    atomic.Bool // the socket takes nothing until the poller says so
	expires time.Time   // when out must be written; zero: it was not tried yet
	over    atomic.Bool // the peer has left, or the pool closes: what the socket does not take at once is not written
}

// Attach gives the connection its socket and its runner. It takes over and closes the net.Conn, in any case.
// Errors: the socket is not one of the system, or is closed.
func (c *Conn) Attach(from net.Conn, r Runner) error {
	defer from.Close()
	s, ok := from.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	c.runner, c.job.do = r, c.run
	var err error
	if c.socket, err = takeSocket(s); err != nil {
		return err
	}
	if !c.m.enter() {
		c.socket.close()
		return net.ErrClosed
	}
	if c.id, err = c.m.poller.add(c.socket, c); err != nil {
		c.socket.close()
		c.m.gone()
		return err
	}
	if c.m.closing.Load() { // Pool.Close may have been too early to see this connection
		c.left()
	}
	return nil
}

func (c *Conn) run() {
	if c.runner.Run() == Parks {
		c.Park()
	}
}

// writable implements watched.
func (c *Conn) writable() {
	if c.full.Swap(false) {
		c.Wake(0)
	}
}

// left implements watched.
func (c *Conn) left() {
	c.over.Store(true)
	c.runner.Left()
	c.full.Store(false)
	c.Wake(0)
}

// Alarm makes the connection wake at a time, or earlier.
func (c *Conn) Alarm(at time.Time) {
	if !c.expires.IsZero() {
		at = c.expires
	}
	c.m.timers.set(&c.alarm, at)
}

// Add adds a frame to the piece of output. taken is false if the piece has to be written first.
func (c *Conn) Add(frame []byte) (taken bool, err error) {
	if c.out == nil {
		c.out = newOutput()
	}
	return c.out.add(frame), nil
}

// End says that what was added last is the end of the answer.
func (c *Conn) End() {
	if c.out != nil && !c.out.seal {
		c.out.last = true
	}
}

// Flush writes what the socket takes of the piece of output. done is false if it is full: the connection is woken
// when it takes more, and has until the deadline of the piece. Errors: the peer has left, or does not read.
func (c *Conn) Flush() (done bool, err error) {
	if c.out == nil {
		return true, nil
	}
	if c.full.Load() {
		return false, c.late()
	}
	if !c.out.seal {
		c.out.close()
	}
	for {
		c.full.Store(true) // before it is tried, so that the poller can contradict
		n, err := c.socket.write(&c.out.rest)
		if err != nil {
			return false, err
		}
		if n == 0 {
			return false, c.late()
		}
		if c.out.written(n) {
			break
		}
	}
	c.full.Store(false)
	c.out.free()
	c.out, c.expires = nil, time.Time{}
	return true, nil
}

// late returns an error when the time for the piece is over, or nobody waits for it any more.
func (c *Conn) late() error {
	if c.over.Load() {
		return net.ErrClosed
	}
	now := time.Now()
	if c.expires.IsZero() {
		c.expires = now.Add(c.m.timeout)
	}
	if now.Before(c.expires) {
		return nil
	}
	return os.ErrDeadlineExceeded
}

// Close ends the connection. What was written is still sent. Further calls do nothing.
func (c *Conn) Close() {
	if c.job.state.Load() == over {
		return // the number of its descriptor may be that of another one by now
	}
	c.m.timers.clear(&c.alarm)
	c.m.poller.remove(c.socket, c.id)
	c.m.queue.remove(&c.job)
	c.socket.discard() // with input unread, closing would reset the connection, and the peer might lose the last bytes
	c.socket.close()
	if c.out != nil {
		c.out.free()
		c.out = nil
	}
	c.m.gone()
}

// Drop ends a Conn that was never attached.
func (c *Conn) Drop() { c.m.queue.remove(&c.job) }
