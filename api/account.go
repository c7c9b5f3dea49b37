package api

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/culvertmq/culvert/event"
)

const (
	// freeBytes of a body are not charged: that its request is counted is enough.
	freeBytes = 4 << 10
	// bodyCost is the memory that a byte of a body takes: as it came, and as it is understood.
	bodyCost = 2
	// busyRetry is when a request that was one too many may come again: those under way
	// are over soon.
	busyRetry = time.Second
)

// holder is who requests are counted for: a client, the key of a backend, a namespace,
// or, when it is zero, the whole instance.
type holder struct {
	party
	key keyID
}

// everywhere is the caller in all its namespaces together, if they are several: what it may
// have must not grow with their number. Tokens of other issuers may have the same sub, so
// the namespaces tell them apart.
func (c *caller) everywhere() (of holder, several bool) {
	switch {
	case len(c.namespaces) == 1, c.namespaces == nil && !c.backend:
		return holder{}, false
	case c.backend:
		return holder{key: c.key}, true
	}
	return holder{party{client: c.client}, keyOf(strings.Join(slices.Sorted(slices.Values(c.namespaces)), " "))}, true
}

// part is how much of the instance's it may have of something: an API key half, a token a
// quarter.
func (c *caller) part(all int) int {
	if c.backend {
		return (all + 1) / 2
	}
	return (all + 3) / 4
}

// kind is what it shows.
func (c *caller) kind() string {
	if c.backend {
		return "the API key"
	}
	return "the token"
}

// keyID tells the keys of backends apart, or the namespaces of tokens; zero: none.
type keyID [8]byte

// keyOf names a key without keeping it.
func keyOf(secret string) (id keyID) {
	digest := sha256.Sum256([]byte(secret))
	copy(id[:], digest[:])
	return id
}

// load is what one holder has under way.
type load struct {
	accounts int // that are open; the load is forgotten with the last one
	requests int // of these, those that are not counted as connections
	bytes    int
}

// bound is what a load may be; 0: anything.
type bound struct{ requests, bytes int }

// share is one holder's part in an account.
type share struct {
	holder
	name string // for people
	full *kind  // what a request is refused with
	most bound
	of   bound // what all may hold, of which the holder leaves some to others; zero: it does not
	load *load
}

// leaves reports whether a holder with n of at most most leaves enough of all, of which taken are
// taken, to others. Alone it may have most. The more others have, the less it may have, and
// something is always left: for one holder more, when all have the same limit and as much of it
// as they may. Without that two namespaces, which one token can be for, would take everything.
func leaves(n, most, taken, all int) bool {
	if most == 0 || most >= all {
		return true
	}
	return float64(n)*float64(all-most) <= float64(most)*float64(all-taken)
}

// underWay has the loads of all who have requests under way.
type underWay struct {
	mu    sync.Mutex
	loads map[holder]*load
}

// account is what one request has of the server: a place among the requests under way,
// and the memory of its body and its answer. Any goroutine may use it, and it may be
// used after close, when there is nothing left to take. It implements queue.Memory.
type account struct {
	all     *underWay // nil: it was not opened
	shares  []share
	counted bool // among the requests
	closed  bool
	bytes   int
	refusal *problem // of the last Take that took nothing

	covered int // of bytes, those of the body; its reader alone knows
}

// open gives a request its place, or says who has too many under way.
func (a *account) open(all *underWay, shares ...share) error {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, s := range shares {
		if l := all.loads[s.holder]; l != nil && s.most.requests > 0 && l.requests >= s.most.requests {
			return s.refusal("has as many requests under way as it may")
		}
		if !leaves(all.requests(s.holder)+1, s.most.requests, all.requests(holder{})+1, s.of.requests) {
			return s.refusal("has as many requests under way as others leave to it")
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

// requests are those of a holder.
func (u *underWay) requests(h holder) int {
	if l := u.loads[h]; l != nil {
		return l.requests
	}
	return 0
}

func (s *share) refusal(why string) *problem {
	p := refuse(s.full, "", s.name+" "+why+"; nothing was done")
	p.after = busyRetry
	return p
}

// asConnection takes the request out of the count: from now on it is a connection,
// which has limits of its own. Its memory stays charged.
func (a *account) asConnection() {
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	a.uncount()
}

func (a *account) uncount() {
	if !a.counted {
		return
	}
	a.counted = false
	for _, s := range a.shares {
		s.load.requests--
	}
}

// take charges n bytes, or says whose memory is used up.
func (a *account) take(n int) error {
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	if a.closed {
		return errors.New("the request is over")
	}
	for i := range a.shares {
		s := &a.shares[i]
		if s.most.bytes > 0 && s.load.bytes+n > s.most.bytes {
			a.refusal = s.refusal("has as many bytes in requests under way as it may")
			return a.refusal
		}
		if s.of.bytes > 0 && !leaves(s.load.bytes+n, s.most.bytes, a.all.loads[holder{}].bytes+n, s.of.bytes) {
			a.refusal = s.refusal("has as many bytes in requests under way as others leave to it")
			return a.refusal
		}
	}
	a.add(n)
	return nil
}

func (a *account) add(n int) {
	a.bytes += n
	for _, s := range a.shares {
		s.load.bytes += n
	}
}

// Take implements queue.Memory.
func (a *account) Take(n int) bool { return a.take(n) == nil }

// Give implements queue.Memory.
func (a *account) Give(n int) {
	if n == 0 {
		return
	}
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	if !a.closed {
		a.add(-n)
	}
}

// explain has an error of the queue say whose memory is used up.
func (a *account) explain(err error) error {
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

// cover charges the body with n bytes that have come so far, in steps, so that a small
// one costs nothing.
func (a *account) cover(n int) error {
	need := (bodyCost*n - freeBytes + freeBytes - 1) / freeBytes * freeBytes
	if need <= a.covered {
		return nil
	}
	if err := a.take(need - a.covered); err != nil {
		return err
	}
	a.covered = need
	return nil
}

// close gives everything back, however the request ended.
func (a *account) close() {
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

// enterUnderWay gives the call its place: for its client, or the key of a backend, which
// acts for many; for its namespace; and on this instance.
func (h *Handler) enterUnderWay(c *call) error {
	if connection := connectionOf(c.r); connection != nil {
		connection.introduce()
	}
	l := *h.o.Limits
	own := share{holder: holder{party: party{c.ns, c.who.client}}, name: "the client",
		full: tooManyRequests, most: bound{l.ClientRequests, l.ClientBytes}}
	if c.who.backend {
		// Half, so that the clients of the namespace have the other half.
		own = share{holder: holder{party: party{ns: c.ns}, key: c.who.key}, name: "the API key",
			full: tooManyRequests, most: bound{(l.NamespaceRequests + 1) / 2, (l.NamespaceBytes + 1) / 2}}
	}
	instance := share{name: "this instance", full: overloaded, most: bound{l.Requests, l.Bytes}}
	if c.ns == (event.Namespace{}) { // a route of no namespace
		return c.visit.account.open(&h.underWay, own, instance)
	}
	shares := []share{own, instance}
	if of, several := c.who.everywhere(); several {
		shares = append(shares, share{holder: of, name: c.who.kind() + " in all its namespaces together", full: tooManyRequests,
			most: bound{c.who.part(l.Requests), c.who.part(l.Bytes)}})
	}
	namespace := share{holder: holder{party: party{ns: c.ns}}, name: "the namespace",
		full: tooManyRequests, most: bound{l.NamespaceRequests, l.NamespaceBytes}, of: instance.most}
	return c.visit.account.open(&h.underWay, append(shares, namespace)...)
}
