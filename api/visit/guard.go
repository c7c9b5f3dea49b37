package visit

import (
	"net"
	"net/http"
	"time"
)

// Guard bounds what visits take before their sender is known, and the time for their bodies and answers.
type Guard struct {
	o Options
	// anonymous are the requests without good credentials; strangers are the connections on which none have
	// arrived; idle are the other connections, while they have no request under way.
	anonymous, strangers, idle places
}

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
	if !v.taken {
		v.finish()
	}
}

// enter starts the time for the body, and gives a request without credentials its place.
func (v *Visit) enter() {
	if v.r.ContentLength != 0 {
		v.ReadWithin(v.o.BodyTimeout)
		v.body = &timedBody{ReadCloser: v.r.Body}
		r := *v.r // a copy: the server must keep its own body
		r.Body = v.body
		v.r = &r
	}
	if c := connectionOf(v.r); c != nil && c.framing.twice.Load() {
		// RFC 9112, section 6.1: a proxy may have understood the framing in another way, and taken part of the
		// body for the next request.
		v.Header().Set("Connection", "close")
	}
	if !v.o.AsksCredentials(v.r) {
		v.asAnonymous()
	}
}

// finish sends what the server has buffered of the answer and reads the rest of the body, so that the visit
// counts as long as both take.
func (v *Visit) finish() {
	if !v.Account.Opened() {
		v.asAnonymous() // refused: it has no good credentials, or there was no place for it
	}
	if v.r.ProtoMajor >= 2 {
		v.arm()
		_ = v.Control.Flush() // an error means that the client has left
	}
	if v.body != nil && !v.body.over && !v.ended {
		v.linger()
	}
	v.armed = time.Time{}
	v.arm() // for the end of the answer, which net/http writes
}

// leave gives up the places.
func (v *Visit) leave() {
	v.mu.Lock()
	v.left = true
	v.mu.Unlock()
	if v.place != nil {
		v.places.leave(v.place)
	}
	if v.taken {
		// Only the account stays in use: nothing of the request must stay in memory with it.
		v.ResponseWriter, v.Control, v.o, v.r, v.places, v.place = nil, nil, nil, nil, nil, nil
		return
	}
	v.Account.Close()
}

// asAnonymous counts the visit among those without good credentials.
func (v *Visit) asAnonymous() {
	if v.place == nil {
		v.place = v.places.enter(v, v.r.RemoteAddr)
	}
}

// Listener wraps the listener of a server that Configure has set up. The connections it accepts are limited
// until a request on them has good credentials (see Visit.Introduce), and again while they are idle.
func (g *Guard) Listener(l net.Listener) net.Listener { return &listener{l, &g.strangers, &g.idle} }

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
