package limits

import (
	"errors"
	"sync"
	"time"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

const (
	// freeBytes of a body are not charged: it is enough that its request is counted.
	freeBytes = 4 << 10
	// bodyCost is how many bytes of memory one byte of a body takes: one as it arrived, and one decoded.
	bodyCost = 2
	// busyRetry is when a refused request may come again: requests under way end soon.
	busyRetry = time.Second
)

// load is what one holder has under way.
type load struct {
	accounts int // open ones; the load is deleted with the last one
	requests int // the open accounts that do not count as connections
	bytes    int
}

// bound is the limit of a load; 0: no limit.
type bound struct{ requests, bytes int }

// share is one holder's part in an account.
type share struct {
	holder
	name string     // for people
	full *wire.Kind // what a request is refused with
	most bound
	of   bound // what all holders may have together: this one must leave some to the others (see leaves); zero: it need not
	load *load
}

// underWay has the loads of all holders that have requests under way.
type underWay struct {
	mu    sync.Mutex
	loads map[holder]*load
}

// Account is what one request takes of the server: a place among the requests under way, and memory for its
// body and its answer. Any goroutine may use it. After Close every Charge fails. It implements event.Memory.
type Account struct {
	all     *underWay // nil before open
	shares  []share
	counted bool // as a request under way
	closed  bool
	bytes   int
	refusal *wire.Problem // of the last Take that failed

	covered int // the bytes of the body among them; only its reader uses this
}

// open counts the request for every holder. Errors: *wire.Problem if one of them has too many under way.
func (a *Account) open(all *underWay, shares ...share) error {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, s := range shares {
		if l := all.loads[s.holder]; l != nil && s.most.requests > 0 && l.requests >= s.most.requests {
			return s.refusal("has too many requests under way")
		}
		if !leaves(all.requests(s.holder)+1, s.most.requests, all.requests(holder{})+1, s.of.requests) {
			return s.refusal("already has its share of this instance's requests under way")
		}
	}
	if all.loads == nil {
		all.loads = map[holder]*load{}
	}
	for i := range shares {
		s := &shares[i]
		if s.load = all.loads[s.holder]; s.load == nil {
			s.load = &load{}
			all.loads[s.holder] = s.load
		}
		s.load.accounts++
		s.load.requests++
	}
	a.all, a.shares, a.counted = all, shares, true
	return nil
}

// requests returns how many requests of the holder are under way.
func (u *underWay) requests(h holder) int {
	if l := u.loads[h]; l != nil {
		return l.requests
	}
	return 0
}

func (s *share) refusal(why string) *wire.Problem {
	p := wire.Refuse(s.full, "", s.name+" "+why+"; nothing was done")
	p.After = busyRetry
	return p
}

// asConnection stops counting the request as under way: from now on it is a connection, which has other limits.
// Its memory stays charged.
func (a *Account) asConnection() {
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	a.uncount()
}

func (a *Account) uncount() {
	if !a.counted {
		return
	}
	a.counted = false
	for _, s := range a.shares {
		s.load.requests--
	}
}

// Charge charges n bytes. Errors: *wire.Problem that says whose limit is reached, or an error if the
// request is over.
func (a *Account) Charge(n int) error {
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	if a.closed {
		return errors.New("the request is over")
	}
	for i := range a.shares {
		s := &a.shares[i]
		if s.most.bytes > 0 && s.load.bytes+n > s.most.bytes {
			a.refusal = s.refusal("has too many bytes in requests under way")
			return a.refusal
		}
		if s.of.bytes > 0 && !leaves(s.load.bytes+n, s.most.bytes, a.all.loads[holder{}].bytes+n, s.of.bytes) {
			a.refusal = s.refusal("already has its share of this instance's bytes in requests under way")
			return a.refusal
		}
	}
	a.add(n)
	return nil
}

func (a *Account) add(n int) {
	a.bytes += n
	for _, s := range a.shares {
		s.load.bytes += n
	}
}

// Take implements event.Memory.
func (a *Account) Take(n int) bool { return a.Charge(n) == nil }

// Give implements event.Memory.
func (a *Account) Give(n int) {
	if n == 0 {
		return
	}
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	if !a.closed {
		a.add(-n)
	}
}

// Explain turns the queue's error for "no memory" into one that says whose limit is reached.
func (a *Account) Explain(err error) error {
	if !errors.Is(err, event.ErrNoMemory) {
		return err
	}
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	if a.refusal != nil {
		return a.refusal
	}
	return err
}

// Cover charges the body for the n bytes that have arrived so far, in steps, so that a small body costs
// nothing.
func (a *Account) Cover(n int) error {
	need := (bodyCost*n - freeBytes + freeBytes - 1) / freeBytes * freeBytes
	if need <= a.covered {
		return nil
	}
	if err := a.Charge(need - a.covered); err != nil {
		return err
	}
	a.covered = need
	return nil
}

// Close gives back everything that the request took.
func (a *Account) Close() {
	if a.all == nil {
		return
	}
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	a.uncount()
	a.add(-a.bytes)
	a.closed = true
	for _, s := range a.shares {
		if s.load.accounts--; s.load.accounts == 0 {
			delete(a.all.loads, s.holder)
		}
	}
}

// Opened reports whether the request was given its place.
func (a *Account) Opened() bool { return a.all != nil }

// ChargeAnswer charges n bytes of an answer until the request is over; a small answer costs nothing.
func (a *Account) ChargeAnswer(n int) error {
	if n <= freeBytes {
		return nil
	}
	return a.Charge(n)
}

// ChargeBody charges n bytes of a body that is read piece by piece.
func (a *Account) ChargeBody(n int) error { return a.Charge(bodyCost * n) }

// GiveBody gives back n bytes that ChargeBody charged.
func (a *Account) GiveBody(n int) { a.Give(bodyCost * n) }
