package visit

import (
	"net"
	"net/http"
	"time"
)

// Options configure a guard. All but the numbers are required.
type Options struct {
	BodyTimeout  time.Duration // for all of a request's body
	WriteTimeout time.Duration // for each write
	// Anonymous and AnonymousAddress are how many of each kind there may be without good credentials:
	// of all, and from one address; 0: any number.
	Anonymous, AnonymousAddress int
	// AsksCredentials reports whether the route of a request asks for credentials.
	AsksCredentials func(*http.Request) bool
	// Draining reports whether the server ends: bodies that nobody wants are then not waited for.
	Draining func() bool
}

// Guard bounds what visits take before it is known who they are from, and how long each may
// send and be written to.
type Guard struct {
	o Options
	// anonymous are the requests without good credentials, strangers the connections, and idle
	// the connections that had some, and have no request under way.
	anonymous, strangers, idle places
}

// strangerTime is how long a connection may be open without good credentials before it
// may be cut off for another one: much longer than to come and say who one is takes, also
// when thousands come back through one address at once.
const strangerTime = 10 * time.Second

// idleTime is how long a connection may have no request under way before it may be cut off
// for another one: much longer than clients take that poll again, or emit again, all at once
// after one event. One that is cut off while a request is on its way fails that request.
const idleTime = 10 * time.Second

// New makes a guard. Nothing runs until Serve is called.
func New(o Options) *Guard {
	g := &Guard{o: o}
	for _, p := range []*places{&g.anonymous, &g.strangers, &g.idle} {
		p.ofAddress, p.ofAll = o.AnonymousAddress, o.Anonymous
	}
	g.MayLast(strangerTime, idleTime)
	return g
}

// MayLast sets how long a stranger's connection and an idle one may last at least before they may
// be cut off for another one.
func (g *Guard) MayLast(strangers, idle time.Duration) {
	g.strangers.mayLast(strangers)
	g.idle.mayLast(idle)
}

// Counted are how many there are now: requests without good credentials, connections without,
// and connections without a request.
func (g *Guard) Counted() (anonymous, strangers, idle int) {
	return g.anonymous.len(), g.strangers.len(), g.idle.len()
}

// Serve has next answer a request. The writer that next gets is a *Visit.
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

// Listener wraps the listener of a server that Configure has set up: the connections it accepts are
// bounded until somebody has been introduced on them (see Visit.Introduce), and while they are idle.
func (g *Guard) Listener(l net.Listener) net.Listener { return &listener{l, &g.strangers, &g.idle} }

const (
	// maxStreams of a connection of HTTP/2 are open at once: what RFC 9113 (section 6.5.2)
	// asks for at the least, since each begins before anybody can say who it is from.
	maxStreams = 100
	// receiveBuffer is what net/http keeps of a stream's body that is not read yet.
	receiveBuffer = 256 << 10
)

// Configure sets the limits of a server, and has it tell of its connections.
func (g *Guard) Configure(s *http.Server) {
	s.ReadHeaderTimeout = 5 * time.Second
	s.ReadTimeout = 0 // would end streams: net/http watches for a lost client by reading
	s.WriteTimeout = 0
	s.IdleTimeout = 2 * time.Minute
	s.MaxHeaderBytes = 64 << 10
	s.DisableGeneralOptionsHandler = true // it reads bodies without a limit on the time
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
