package visit

import (
	"net"
	"net/http"
	"time"
)

// Options configure a guard. All but the numbers are required.
type Options struct {
	BodyTimeout  time.Duration // for the whole body of a request
	WriteTimeout time.Duration // for each write
	// Anonymous and AnonymousAddress limit each of three kinds: requests without good credentials, connections
	// without, and idle connections. Anonymous is for all addresses together, AnonymousAddress for one; 0: no
	// limit.
	Anonymous, AnonymousAddress int
	// AsksCredentials reports whether the route of a request needs credentials.
	AsksCredentials func(*http.Request) bool
	// Draining reports whether the server is shutting down: it then does not wait for the rest of unwanted
	// bodies.
	Draining func() bool
}

// Guard bounds what visits take before their sender is known, and the time for their bodies and answers.
type Guard struct {
	o Options
	// anonymous are the requests without good credentials; strangers are the connections on which none have
	// arrived; idle are the other connections, while they have no request under way.
	anonymous, strangers, idle places
}

// strangerTime is how long a connection may be open without good credentials before it may be cut off for
// another one. It is much longer than a client takes to connect and send them, even when thousands reconnect at
// once from one address.
const strangerTime = 10 * time.Second

// idleTime is how long a connection may have no request under way before it may be cut off for another one. It
// is much longer than clients take to poll again, or to emit again, even when all do so at once after one
// event. If a connection is cut off while a request is on its way, that request fails.
const idleTime = 10 * time.Second

// New makes a Guard. It starts nothing until Serve is called.
func New(o Options) *Guard {
	g := &Guard{o: o}
	for _, p := range []*places{&g.anonymous, &g.strangers, &g.idle} {
		p.ofAddress, p.ofAll = o.AnonymousAddress, o.Anonymous
	}
	g.MayLast(strangerTime, idleTime)
	return g
}

// MayLast sets how long a stranger's connection and an idle one may last before they may be cut off for another
// one.
func (g *Guard) MayLast(strangers, idle time.Duration) {
	g.strangers.mayLast(strangers)
	g.idle.mayLast(idle)
}

// Counted returns how many there are now: requests without good credentials, connections without, and idle
// connections.
func (g *Guard) Counted() (anonymous, strangers, idle int) {
	return g.anonymous.len(), g.strangers.len(), g.idle.len()
}

// Serve lets next answer a request. The writer that next gets is a *Visit.
func (g *Guard) Serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	v := &Visit{
		ResponseWriter: w, Control: http.NewResponseController(w),
		o: &g.o, r: r, began: time.Now(), places: &g.anonymous,
	}
	defer v.leave()
	v.enter()
	next.ServeHTTP(v, v.r)
	v.finish()
}

// Listener wraps the listener of a server that Configure has set up. The connections it accepts are limited
// until a request on them has good credentials (see Visit.Introduce), and again while they are idle.
func (g *Guard) Listener(l net.Listener) net.Listener { return &listener{l, &g.strangers, &g.idle} }

const (
	// maxStreams is how many streams of one HTTP/2 connection are open at once. It is the least that RFC 9113
	// (section 6.5.2) recommends, since each begins before its sender is known.
	maxStreams = 100
	// receiveBuffer is how much of a stream's unread body net/http keeps.
	receiveBuffer = 256 << 10
)

// Configure sets the limits of a server, and registers hooks for its connections.
func (g *Guard) Configure(s *http.Server) {
	s.ReadHeaderTimeout = 5 * time.Second
	s.ReadTimeout = 0 // a timeout would end streams: net/http reads on to notice when a client leaves
	s.WriteTimeout = 0
	s.IdleTimeout = 2 * time.Minute
	s.MaxHeaderBytes = 64 << 10
	s.DisableGeneralOptionsHandler = true // that handler reads bodies without a time limit
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	if s.ConnContext == nil {
		s.ConnContext = withConnection
	}
	watched := s.ConnState
	s.ConnState = func(c net.Conn, state http.ConnState) {
		watchIdle(c, state)
		if watched != nil {
			watched(c, state)
		}
	}
	s.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams:          maxStreams,
		MaxReceiveBufferPerStream:     receiveBuffer,
		MaxReceiveBufferPerConnection: 1 << 20,
		WriteByteTimeout:              g.o.WriteTimeout,
	}
}
