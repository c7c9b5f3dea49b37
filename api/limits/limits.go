package limits

import (
	"errors"
	"fmt"
	"slices"
	"time"
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

// Default are those of an instance that nobody has set any for.
func Default() Limits {
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

// Check reports a limit that makes no sense.
func (l Limits) Check() error {
	switch {
	case l.NamespaceRate < 0, l.ClientRate < 0, l.RequestRate < 0, slices.Min(l.counts()) < 0:
		return errors.New("limits must not be negative")
	case l.Burst < 0 || l.Burst > time.Hour:
		return fmt.Errorf("the burst must be from 0 to %v", time.Hour)
	}
	return nil
}
