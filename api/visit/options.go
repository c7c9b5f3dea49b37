package visit

import (
	"net/http"
	"time"
)

// Options configure a guard. All but the numbers are required.
type Options struct {
	BodyTimeout  time.Duration // for the whole body of a request
	WriteTimeout time.Duration // for each write
	// Anonymous and AnonymousAddress limit each of three kinds: requests without good credentials, connections
	// on which none have come, and idle connections. Anonymous is for all addresses together, AnonymousAddress for one; 0: no
	// limit.
	Anonymous, AnonymousAddress int
	// AsksCredentials reports whether the route of a request needs credentials.
	AsksCredentials func(*http.Request) bool
	// Draining reports whether the server is shutting down: it then does not wait for the rest of unwanted
	// bodies.
	Draining func() bool
}

// strangerTime is how long a connection may be open without good credentials before it may be cut off for
// another one. It is much longer than a client takes to connect and send them, even when thousands reconnect at
// once from one address.
const strangerTime = 10 * time.Second

// idleTime is how long a connection may have no request under way before it may be cut off for another one. It
// is much longer than clients take to poll again, or to emit again, even when all do so at once after one
// event. If a connection is cut off while a request is on its way, that request fails.
const idleTime = 10 * time.Second

const (
	// maxStreams is how many streams of one HTTP/2 connection are open at once. It is the least that RFC 9113
	// (section 6.5.2) recommends, since each begins before its sender is known.
	maxStreams = 100
	// receiveBuffer is how much of a stream's unread body net/http keeps.
	receiveBuffer = 256 << 10
)
