package postgres

import (
	"container/heap"
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
)

// Shared is a pool whose connections are shared out to requests in turns.
type Shared struct {
	Pool  *pgxpool.Pool
	Turns *Turnstile
}

// Use waits for a turn and then calls f, which uses one connection of the pool. The turn is that of
// the client in ctx (see WithReader), or else of c. Errors: ctx's, and f's.
func (s Shared) Use(ctx context.Context, ns event.Namespace, c event.Client, k Kind, f func(db *pgxpool.Pool) error) error {
	client := c.String()
	if by, ok := ctx.Value(readerKey{}).(string); ok {
		client = by
	}
	done, err := s.Turns.take(ctx, ns.String(), client, k)
	if err != nil {
		return err
	}
	defer done()
	return f(s.Pool)
}

// WithReader says for which client something is read if it is not the client that a call names.
func WithReader(ctx context.Context, c event.Client) context.Context {
	return context.WithValue(ctx, readerKey{}, c.String())
}

type readerKey struct{}

// Kind is how long a read may be expected to take.
type Kind int

// The kinds of reads.
const (
	Quick Kind = iota // a few rows: where a subscription begins, the state of one object
	Long              // many rows: a page of events, a list
	kinds
)

// Turnstile shares a few connections among waiting reads: first by namespace, and within
// each namespace by client. The next turn goes to the one that has used the least database time among those that
// wait now, so that a client with many reads uses only the time that others leave. If there is more than one
// connection, reads of one kind never take all of them while the other kind waits.
//
// It is based on start-time fair queueing (Goyal, Vin, Cheng, 1996), in two levels; but new flows begin later, see
// charge.
type Turnstile struct {
	mu      sync.Mutex
	conns   int
	running [kinds]int
	lines   [kinds]line
	last    Kind // the kind that got a connection last
}

// NewTurnstile returns a Turnstile for conns connections.
func NewTurnstile(conns int) *Turnstile { return &Turnstile{conns: conns} }

// ticket is one read that waits for a connection, or has one.
type ticket struct {
	space, client *flow
	place         *list.Element // nil: it has a connection
	ready         chan struct{}
	since         time.Time
}

// leastTurn is the time that a turn is charged when it begins; the rest is charged at its end.
const leastTurn = time.Millisecond

// take waits for a turn. done must be called once, unless there is an error.
func (t *Turnstile) take(ctx context.Context, ns, client string, k Kind) (done func(), err error) {
	w := &ticket{ready: make(chan struct{})}
	t.mu.Lock()
	t.lines[k].push(w, ns, client)
	t.serve()
	t.mu.Unlock()
	select {
	case <-w.ready:
		return func() { t.end(w, k) }, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	waits := w.place != nil
	if waits {
		t.lines[k].remove(w)
	}
	t.mu.Unlock()
	if !waits {
		t.end(w, k)
	}
	return nil, ctx.Err()
}

// Waiting is how many reads wait.
func (t *Turnstile) Waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lines[Quick].waiting + t.lines[Long].waiting
}

func (t *Turnstile) end(w *ticket, k Kind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running[k]--
	t.lines[k].charge(w, time.Since(w.since)-leastTurn)
	if t.running[k] == 0 && t.lines[k].waiting == 0 {
		t.lines[k] = line{} // used time counts only between reads that compete, and none is left
	}
	t.serve()
}

// serve gives out the free connections. The caller holds mu.
func (t *Turnstile) serve() {
	for t.running[Quick]+t.running[Long] < t.conns {
		k, ok := t.next()
		if !ok {
			return
		}
		t.running[k]++
		t.last = k
		t.lines[k].pop()
	}
}

// next returns the kind whose turn it is.
func (t *Turnstile) next() (k Kind, ok bool) {
	switch {
	case t.lines[Quick].waiting == 0:
		k = Long
	case t.lines[Long].waiting == 0:
		k = Quick
	case t.running[Quick] != t.running[Long]:
		k = Quick
		if t.running[Quick] > t.running[Long] {
			k = Long
		}
	default:
		k = kinds - 1 - t.last
	}
	// One connection is kept for quick reads even while none waits, because a long
	// read cannot be stopped when a quick one comes.
	if k == Long && t.conns > 1 && t.running[Long] == t.conns-1 {
		return k, false
	}
	return k, t.lines[k].waiting > 0
}

// line holds the waiting reads of one kind, by namespace and client.
type line struct {
	waiting int
	spaces  flows
}

func (l *line) push(w *ticket, ns, client string) {
	l.waiting++
	w.space = l.spaces.get(ns)
	if w.space.clients == nil {
		w.space.clients = &flows{}
	}
	w.client = w.space.clients.get(client)
	w.place = w.client.turns.PushBack(w)
	w.space.waiting++
	w.client.waiting++
	w.space.clients.enter(w.client)
	l.spaces.enter(w.space)
}

// pop gives the next read a connection.
func (l *line) pop() {
	s := l.spaces.ready[0]
	c := s.clients.ready[0]
	l.spaces.now, s.clients.now = max(l.spaces.now, s.spent), max(s.clients.now, c.spent)
	w := c.turns.Front().Value.(*ticket) //nolint:forcetypeassert // the list holds only tickets
	l.remove(w)
	s.running++
	c.running++
	l.spaces.charge(s, leastTurn)
	s.clients.charge(c, leastTurn)
	w.since = time.Now()
	close(w.ready)
}

// remove takes a waiting read out of the line.
func (l *line) remove(w *ticket) {
	l.waiting--
	w.client.turns.Remove(w.place)
	w.place = nil
	w.client.waiting--
	w.space.waiting--
	w.space.clients.leave(w.client)
	l.spaces.leave(w.space)
}

func (l *line) charge(w *ticket, d time.Duration) {
	now := time.Now()
	for _, f := range []*flow{w.client, w.space} {
		f.running--
		f.left = now
	}
	w.space.clients.charge(w.client, d)
	l.spaces.charge(w.space, d)
	if w.space.idle() {
		w.space.clients = nil
	}
}

// flow is a namespace or a client and the database time it has used. When it begins to wait, its time is raised to
// that of the flows it competes with, so that nobody saves up time while it does not wait.
type flow struct {
	key     string
	spent   time.Duration
	waiting int
	running int
	left    time.Time // when its last turn ended
	index   int       // in flows.ready; meaningless when nothing waits

	turns   list.List // of a client
	clients *flows    // of a namespace
}

// flows are namespaces, or clients of one namespace, that compete with each other.
type flows struct {
	all   map[string]*flow
	ready ready
	now   time.Duration // the used time with which a new flow begins
	sweep int           // above this number of flows, idle ones are forgotten
}

func (f *flows) get(key string) *flow {
	if have := f.all[key]; have != nil {
		return have
	}
	if len(f.all) >= f.sweep {
		for k, old := range f.all {
			if old.idle() && (old.spent <= f.now || time.Since(old.left) > forgiven) {
				delete(f.all, k)
			}
		}
		f.sweep = max(64, 2*len(f.all))
	}
	if f.all == nil {
		f.all = map[string]*flow{}
	}
	n := &flow{key: key}
	f.all[key] = n
	return n
}

// forgiven is how long after its last turn the used time of a flow still counts.
const forgiven = 10 * time.Second

func (f *flow) idle() bool { return f.waiting == 0 && f.running == 0 }

// enter adds a flow whose first read began to wait.
func (f *flows) enter(one *flow) {
	if one.waiting == 1 {
		one.spent = max(one.spent, f.now)
		heap.Push(&f.ready, one)
	}
}

// leave removes a flow whose last waiting read is served or gone.
func (f *flows) leave(one *flow) {
	if one.waiting == 0 {
		heap.Remove(&f.ready, one.index)
	}
}

// charge adds d to the time that a flow has used, and moves on now, where new flows begin, by a share of d. Without
// that, a steady flow of new clients would always come before those that have had a turn. The share is smaller than
// the average of the waiting flows, so that a new flow comes before one that waits alone.
func (f *flows) charge(one *flow, d time.Duration) {
	one.spent += d
	f.now += d / time.Duration(len(f.ready)+2)
	if one.waiting > 0 {
		heap.Fix(&f.ready, one.index)
	}
}

// ready is a heap with the flow that has used the least time in front.
type ready []*flow

func (r ready) Len() int           { return len(r) }
func (r ready) Less(i, j int) bool { return r[i].spent < r[j].spent }
func (r ready) Swap(i, j int) {
	r[i], r[j] = r[j], r[i]
	r[i].index, r[j].index = i, j
}

func (r *ready) Push(x any) {
	f := x.(*flow) //nolint:forcetypeassert // the heap holds only flows
	f.index = len(*r)
	*r = append(*r, f)
}

func (r *ready) Pop() any {
	old := *r
	n := len(old)
	last := old[n-1]
	old[n-1] = nil
	*r = old[:n-1]
	return last
}
