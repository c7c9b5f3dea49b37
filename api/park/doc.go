// Package park serves connections that are idle most of the time, without a goroutine, a buffer or a timer for each.
//
// A Pool has a few workers. A Conn is a connection that was taken over from net/http, with a Runner that says what
// happens on it. A worker calls Runner.Run when the Conn was woken: by Wake, by its alarm, because its socket takes
// bytes again, or because its peer has left. Run must not block: it writes what the socket takes at once.
//
//	       Wake             a worker             Run returns
//	parked ────▶ queued ───────────▶ running ───────────────▶ parked
//	               ▲                    │ Wake                    │
//	               └──── Run returns ── again        Close ──▶ over
//
// So a Conn is run by one goroutine at a time, and no wake is lost: one that comes while it runs makes it run once
// more. A Runner that has to wait for something else returns Keep from Run, goes on in a goroutine of its own, and
// calls Conn.Park there.
//
// Workers take turns: between lanes (a lane is for those that share, such as a namespace), within a lane between
// bursts (those woken for one cause, such as an event of a room), and within a burst in the order of their wakes. A
// burst of thousands does not delay one of few.
package park
