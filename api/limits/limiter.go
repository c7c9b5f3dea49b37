package limits

import (
	"time"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// Limiter counts what is used of this instance, and refuses what is over the limits. Any goroutine may use it.
type Limiter struct {
	limits      Limits
	settings    settings
	rates       rates
	connections connections
	underWay    underWay
}

// New makes a Limiter from limits that Check accepts. Many goroutines call own.
func New(l Limits, own settings) *Limiter { return &Limiter{limits: l, settings: own} }

// TakeEvents takes a token for each of n emitted events, less the paid tokens that were taken before.
// Errors: *wire.Problem when there are not enough; then it takes none.
func (l *Limiter) TakeEvents(ns event.Namespace, who *auth.Identity, n, paid int) error {
	if n == paid {
		return nil
	}
	limits := l.limitsFor(ns)
	charges := []charge{{bucketOf: bucketOf{party: party{ns: ns}}, rate: limits.NamespaceRate, over: "the namespace"}}
	if !who.Backend {
		charges = append(charges, charge{bucketOf: bucketOf{party: party{ns, who.Client}}, rate: limits.ClientRate, over: "the client"})
	}
	return slowDown(l.rates.take(time.Now(), limits.Burst, n, paid, charges...))
}

// TakeRequest takes the token of one request that emits nothing. Errors: as for TakeEvents.
func (l *Limiter) TakeRequest(ns event.Namespace, who *auth.Identity) error {
	if who.Backend {
		return nil
	}
	limits := l.limitsFor(ns)
	return slowDown(l.rates.take(time.Now(), limits.Burst, 1, 0,
		charge{bucketOf: bucketOf{party{ns, who.Client}, true}, rate: limits.RequestRate, over: "the client"}))
}

// slowDown returns the refusal for a caller that must wait; nil if wait is 0.
func slowDown(wait time.Duration, over string) error {
	if wait <= 0 {
		return nil
	}
	p := wire.Refuse(wire.RateLimited, "", "rate limit of "+over+" exceeded; nothing was stored")
	p.After = wait
	return p
}

// Enter opens the account of a request. It counts for the client or, since one backend acts for many clients,
// for the backend's key; for the namespace; and for the whole instance. Account.Close ends it.
// Errors: *wire.Problem when there are too many.
func (l *Limiter) Enter(a *Account, ns event.Namespace, who *auth.Identity) error {
	limits := l.limits
	own := share{holder: holder{party: party{ns, who.Client}}, name: "the client",
		full: wire.TooManyRequests, most: bound{limits.ClientRequests, limits.ClientBytes}}
	if who.Backend {
		// A key may have half of what its namespace may have; the rest is for the clients.
		own = share{holder: holder{party: party{ns: ns}, key: who.Key}, name: "the API key",
			full: wire.TooManyRequests, most: bound{(limits.NamespaceRequests + 1) / 2, (limits.NamespaceBytes + 1) / 2}}
	}
	instance := share{name: "this instance", full: wire.Overloaded, most: bound{limits.Requests, limits.Bytes}}
	if ns == (event.Namespace{}) { // a route without a namespace
		return a.open(&l.underWay, own, instance)
	}
	shares := []share{own, instance}
	if of, several := everywhere(who); several {
		shares = append(shares, share{holder: of, name: credentials(who) + " in all its namespaces together", full: wire.TooManyRequests,
			most: bound{part(who, limits.Requests), part(who, limits.Bytes)}})
	}
	namespace := share{holder: holder{party: party{ns: ns}}, name: "the namespace",
		full: wire.TooManyRequests, most: bound{limits.NamespaceRequests, limits.NamespaceBytes}, of: instance.most}
	return a.open(&l.underWay, append(shares, namespace)...)
}

// Counts are what a holder uses now.
type Counts struct {
	Requests, Bytes, Connections int
	Holders                      int // holders counted in all; one with both requests and connections counts twice
}

// Counts returns what the client uses now; without a client, its namespace; without either, the whole instance.
func (l *Limiter) Counts(ns event.Namespace, client event.Client) (now Counts) {
	of := holder{party: party{ns, client}}
	l.connections.mu.Lock()
	now.Connections, now.Holders = l.connections.open[of], len(l.connections.open)
	l.connections.mu.Unlock()
	l.underWay.mu.Lock()
	defer l.underWay.mu.Unlock()
	now.Holders += len(l.underWay.loads)
	if of := l.underWay.loads[of]; of != nil {
		now.Requests, now.Bytes = of.requests, of.bytes
	}
	return now
}
