// Package culvert is Culvert for Go programs: it gets through whatever proxies are
// on the way, loses nothing there, and calls handlers for events in order.
//
// Dial makes a Client, On and OnAny register handlers, Listen receives until its
// context ends. Emit, EmitWithReply, Join and Leave work with or without it. See
// the example.
//
// Events are acknowledged after their handlers have returned, so that one whose
// handler was cut short comes again to the next process; within a process no event
// is handled twice. An event that comes again is told apart by its offset.
//
// How events come is decided by the ladder (ladder.go says what is tried, transitions.go
// what follows):
//
//	stream --nothing, bursts, silence, refusal--> long poll --same age--> shorter
//	  ^                                              |                   poll, down
//	  +---- from time to time, later and later ------+                   to short
//
// What was found out about a server is remembered, by origin, as long as the
// program runs. The wire is described in docs/protocol.md.
package culvert
