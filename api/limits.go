package api

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/culvertmq/culvert/event"
)

// Limits are what one instance takes from a namespace and from each of its
// clients; behind a balancer that spreads evenly, n instances take n times as
// much. What an API key sends counts for the namespace alone, whoever it acts for: it
// is trusted. The connections it opens for a client are that client's. 0 is no limit.
type Limits struct {
	// NamespaceRate and ClientRate are events emitted per second; an event of a
	// batch counts like one by itself.
	NamespaceRate, ClientRate float64
	// RequestRate is other requests of a client per second.
	RequestRate float64
	// Burst is how many seconds' worth of a rate may come at once after a
	// pause: 10s when it is 0.
	Burst time.Duration
	// NamespaceConnections and ClientConnections are streams, held long polls,
	// emits that wait for replies and NDJSON uploads open at once; Connections are
	// those of all namespaces together. Here and below a namespace whose limit is lower than
	// that of all can have the less of it the more the others have, so that some is always left.
	Connections, NamespaceConnections, ClientConnections int
	// ClientRequests, NamespaceRequests and Requests are all other requests under way
	// at once: of a client, of a namespace, of all. An API key may have half of its
	// namespace's, whoever it acts for.
	Requests, NamespaceRequests, ClientRequests int
	// ClientBytes, NamespaceBytes and Bytes are what requests and connections may hold
	// of the server's memory, counted like Requests: twice the body that has arrived
	// (an NDJSON upload's until it is stored), and of an answer twice the data of the
	// events that were read from Postgres for it, and 512 bytes an event.
	Bytes, NamespaceBytes, ClientBytes int
	// AnonymousAddress and Anonymous are requests under way without good credentials, and,
	// each counted for themselves, connections on which none have come yet, and those that
	// have no request under way: from one address (IPv6: network of 64 bits), and of all. Over
	// it, the one that has lasted longest is cut off, a connection not before it has lasted
	// 10 s without; nobody is refused.
	AnonymousAddress, Anonymous int
}

// DefaultLimits are those of an instance that nobody has set any for.
func DefaultLimits() Limits {
	return Limits{
		NamespaceRate: 100_000, ClientRate: 500, RequestRate: 500, Burst: defaultBurst,
		Connections: 100_000, NamespaceConnections: 50_000, ClientConnections: 32,
		Requests: 20_000, NamespaceRequests: 10_000, ClientRequests: 256,
		Bytes: 512 << 20, NamespaceBytes: 256 << 20, ClientBytes: 32 << 20,
		AnonymousAddress: 512, Anonymous: 4_096,
	}
}

// counts are the limits that are numbers of something.
func (l Limits) counts() []int {
	return []int{
		l.Connections, l.NamespaceConnections, l.ClientConnections, l.Requests, l.NamespaceRequests, l.ClientRequests,
		l.Bytes, l.NamespaceBytes, l.ClientBytes, l.AnonymousAddress, l.Anonymous,
	}
}

const defaultBurst = 10 * time.Second

func (l Limits) check() error {
	switch {
	case l.NamespaceRate < 0, l.ClientRate < 0, l.RequestRate < 0, slices.Min(l.counts()) < 0:
		return errors.New("limits must not be negative")
	case l.Burst < 0 || l.Burst > time.Hour:
		return fmt.Errorf("the burst must be from 0 to %v", time.Hour)
	}
	return nil
}

// limitsFor are the limits of a namespace: its own settings where it has some,
// the server's elsewhere.
func (h *Handler) limitsFor(ns event.Namespace) Limits {
	l, own := *h.o.Limits, h.queue.Settings(ns)
	l.NamespaceRate = cmp.Or(own.EmitRate, l.NamespaceRate)
	l.ClientRate = cmp.Or(own.ClientRate, l.ClientRate)
	l.ClientConnections = cmp.Or(own.MaxConnectionsClient, l.ClientConnections)
	return l
}

// party is who a limit is counted for: a client, or with none its namespace.
type party struct {
	ns     event.Namespace
	client event.Client
}

// limiter keeps count. Its clock is the caller's.
type limiter struct {
	mu          sync.Mutex
	buckets     buckets
	connections map[holder]int
}

// takeEvents takes the tokens of n emitted events, of which some are paid already, or
// refuses.
func (h *Handler) takeEvents(c *call, n, paid int) error {
	if n == paid {
		return nil
	}
	l := h.limitsFor(c.ns)
	charges := []charge{{bucketOf: bucketOf{party: party{ns: c.ns}}, rate: l.NamespaceRate, over: "the namespace"}}
	if !c.who.backend {
		charges = append(charges, charge{bucketOf: bucketOf{party: party{c.ns, c.who.client}}, rate: l.ClientRate, over: "the client"})
	}
	return slowDown(h.limits.take(time.Now(), l.Burst, n, paid, charges...))
}

// takeRequest takes the token of one request that emits nothing.
func (h *Handler) takeRequest(c *call) error {
	if c.who.backend {
		return nil
	}
	l := h.limitsFor(c.ns)
	return slowDown(h.limits.take(time.Now(), l.Burst, 1, 0,
		charge{bucketOf: bucketOf{party{c.ns, c.who.client}, true}, rate: l.RequestRate, over: "the client"}))
}

// slowDown is the refusal of who has to wait; nil when nobody has to.
func slowDown(wait time.Duration, over string) error {
	if wait <= 0 {
		return nil
	}
	p := refuse(rateLimited, "", "rate limit of "+over+" exceeded; nothing was stored")
	p.after = wait
	return p
}

// connect counts a connection of the caller until release is called, or refuses
// it. A backend that names no client has only the namespace's limit.
func (h *Handler) connect(c *call) (release func(), err error) {
	l := h.limitsFor(c.ns)
	ns, client := holder{party: party{ns: c.ns}}, holder{party: party{c.ns, c.who.client}}
	everywhere, several := c.who.everywhere()
	most := c.who.part(l.Connections)
	s := &h.limits
	s.mu.Lock()
	defer s.mu.Unlock()
	var all holder
	switch {
	case l.Connections > 0 && s.connections[all] >= l.Connections:
		return nil, refuse(overloaded, "", "this instance has too many streams, long polls, waiting emits and uploads open")
	case l.NamespaceConnections > 0 && s.connections[ns] >= l.NamespaceConnections:
		return nil, refuse(tooManyConnections, "", "the namespace has too many streams, long polls, waiting emits and uploads open")
	case !leaves(s.connections[ns]+1, l.NamespaceConnections, s.connections[all]+1, l.Connections):
		return nil, refuse(tooManyConnections, "", "the other namespaces leave no room for another stream, long poll, waiting emit or upload of this one")
	case client != ns && l.ClientConnections > 0 && s.connections[client] >= l.ClientConnections:
		return nil, refuse(tooManyConnections, "", "the client has too many streams, long polls, waiting emits and uploads open")
	case several && most > 0 && s.connections[everywhere] >= most:
		return nil, refuse(tooManyConnections, "", c.who.kind()+" has as many streams, long polls, waiting emits and uploads open in all its namespaces together as it may")
	}
	if s.connections == nil {
		s.connections = map[holder]int{}
	}
	held := []holder{all, ns}
	if client != ns {
		held = append(held, client)
	}
	if several {
		held = append(held, everywhere)
	}
	for _, of := range held {
		s.connections[of]++
	}
	c.visit.account.asConnection()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, of := range held {
			s.leave(of)
		}
	}, nil
}

// leave forgets who has no connection left.
func (s *limiter) leave(p holder) {
	if s.connections[p]--; s.connections[p] <= 0 {
		delete(s.connections, p)
	}
}
