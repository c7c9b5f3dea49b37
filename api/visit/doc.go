// Package visit bounds what a request may cost before it is known who it is from, and how long it may
// send and be written to.
//
// New makes a Guard. Guard.Serve has a handler answer a request: the writer that the handler gets is a *Visit.
// A server needs Guard.Configure, and Guard.Listener for what cannot be seen of a request: connections on
// which nobody has shown good credentials, idle ones, and requests that are framed in two ways.
//
// A visit passes these states: its body has a time from the headers on; a handler answers; what is left of the
// body is read for a while, so that the client can read the answer (linger.go); its places and its
// account are given back.
package visit
