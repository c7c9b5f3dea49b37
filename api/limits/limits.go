package limits

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue/registry"
)

// Limits are what one instance grants a namespace and each of its clients. Behind a balancer that spreads
// evenly, n instances grant n times as much. What an API key sends counts only for the namespace, whichever
// client it acts for: it is trusted. The connections it opens for a client count for that client, too. 0 means
// no limit.
type Limits struct {
	// NamespaceRate and ClientRate are events emitted per second; each event of a batch counts.
	NamespaceRate, ClientRate float64
	// RequestRate is how many other requests per second a client may send.
	RequestRate float64
	// Burst is how many seconds' worth of a rate may come at once after a pause; 0 means 10s.
	Burst time.Duration
	// NamespaceConnections and ClientConnections are streams, held long polls, emits that wait for replies and
	// NDJSON uploads open at once. Connections are those of all namespaces together. A namespace's limit (here
	// and below) that is lower than the one for all shrinks when the other namespaces use more, so that there
	// is always some left for others.
	Connections, NamespaceConnections, ClientConnections int
	// ClientRequests, NamespaceRequests and Requests are all other requests under way at once: of a client, of
	// a namespace, of all. An API key may have half of what its namespace may have, whichever clients it acts
	// for.
	Requests, NamespaceRequests, ClientRequests int
	// ClientBytes, NamespaceBytes and Bytes are what requests and connections may take of the server's memory,
	// counted for the same holders as requests. A body counts as twice its bytes that have arrived (in an
	// NDJSON upload, until they are stored). An answer counts as twice the data of the events that were read
	// from Postgres for it, and 512 bytes for each event.
	Bytes, NamespaceBytes, ClientBytes int
	// AnonymousAddress and Anonymous limit three things, each counted separately: requests under way without
	// good credentials, connections on which no good credentials have arrived yet, and connections without a
	// request under way. AnonymousAddress is the limit for one address (IPv6: one /64 network), Anonymous that
	// for all. Nobody is refused: above the limit the oldest one is cut off. A connection is not cut off in its
	// first 10 s in that state.
	AnonymousAddress, Anonymous int
}

// Default returns the limits of an instance for which none are configured.
func Default() Limits {
	return Limits{
		NamespaceRate: 100_000, ClientRate: 500, RequestRate: 500, Burst: defaultBurst,
		Connections: 100_000, NamespaceConnections: 50_000, ClientConnections: 32,
		Requests: 20_000, NamespaceRequests: 10_000, ClientRequests: 256,
		Bytes: 512 << 20, NamespaceBytes: 256 << 20, ClientBytes: 32 << 20,
		AnonymousAddress: 512, Anonymous: 4_096,
	}
}

// counts returns the limits that are whole numbers.
func (l Limits) counts() []int {
	return []int{
		l.Connections, l.NamespaceConnections, l.ClientConnections, l.Requests, l.NamespaceRequests, l.ClientRequests,
		l.Bytes, l.NamespaceBytes, l.ClientBytes, l.AnonymousAddress, l.Anonymous,
	}
}

const defaultBurst = 10 * time.Second

// Check reports limits that are negative or otherwise make no sense.
func (l Limits) Check() error {
	switch {
	case l.NamespaceRate < 0, l.ClientRate < 0, l.RequestRate < 0, slices.Min(l.counts()) < 0:
		return errors.New("limits must not be negative")
	case l.Burst < 0 || l.Burst > time.Hour:
		return fmt.Errorf("the burst must be from 0 to %v", time.Hour)
	}
	return nil
}

// settings are the limits that namespaces have set for themselves.
type settings interface {
	Settings(ns event.Namespace) registry.NamespaceSettings
}

// limitsFor returns the limits of a namespace: its own settings where it has some, else the server's.
func (l *Limiter) limitsFor(ns event.Namespace) Limits {
	now, own := l.limits, l.settings.Settings(ns)
	now.NamespaceRate = cmp.Or(own.EmitRate, now.NamespaceRate)
	now.ClientRate = cmp.Or(own.ClientRate, now.ClientRate)
	now.ClientConnections = cmp.Or(own.MaxConnectionsClient, now.ClientConnections)
	return now
}
