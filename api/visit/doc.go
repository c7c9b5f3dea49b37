// Package visit bounds what a request may cost before its sender is known, and the time for its body and its
// answer.
//
// New makes a Guard. Guard.Serve lets a handler answer a request; the writer that the handler gets is a *Visit.
// A server needs Guard.Configure. It also needs Guard.Listener, which handles what a handler cannot see:
// connections on which no good credentials have arrived, idle connections, and requests that are framed in two
// ways.
//
// A visit has these states: its headers have arrived, and the time for its body begins; a handler answers; the
// rest of the body is read for a while, so that the client can read the answer (linger.go); its places and its
// account are given back.
package visit
