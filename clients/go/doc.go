// Package culvert is a Culvert client for Go programs: it works behind proxies of any kind
// without losing events, and calls handlers for events in order.
//
// Dial makes a Client, On and OnAny register handlers, Listen receives until its
// context ends. Emit, EmitWithReply, Join and Leave work with or without Listen. See
// the example.
//
// Events are acknowledged after their handlers have returned, so that an event whose
// handler was interrupted comes again to the next process; within a process no event
// is handled twice. A repeated event has the same offset.
//
// The ladder decides by which transport events come. It is a state machine: ladder.go has its
// states and the calls that report events to it; transitions.go decides what follows when an attempt has ended.
//
//	             hello                        hello
//	connecting ---------> streaming <--------------------- trying
//	  |  ^  ^               |   |                           |  ^
//	  |  |  +---- ended ----+   | bursts, silence twice,    |  |
//	  |  |                      | early cuts         failed |  | from time to time,
//	  |  | the poll failed,     |                           |  | later and later
//	  |  | or path is slow      |                           v  |
//	  |  |                      |              +----------------------+
//	  |  +--------- checking <--+              |        a page        |
//	  |              ^   |         a page      | probing ---> polling |
//	  +--------------+   +-------------------> |         <---         |
//	   no hello, or                            |  failed, or woken    |
//	   refused twice                           +----------------------+
//
// The states:
//
//   - connecting: the client asks for a stream. streaming: the stream has said hello. It fails if it
//     goes silent twice, is cut early again and again, or its events arrive in bursts (a proxy holds them back).
//   - checking: the stream failed, and a poll tests whether the network works. A page
//     (the answer of a poll) leads to polling.
//   - polling: events come by polls, held for as long as the proxies allow, which may be not at
//     all. probing: the next poll is not held, to test whether anything gets through.
//   - trying: the client asks for a stream again, from probing or polling. If that fails, probing follows.
//
// If the application insists on streams, only connecting and streaming occur; if it insists on
// polls, only probing and polling. The ladder of clients/js has the same states;
// testdata/ladder.json says what both must do.
//
// What the client found out about a server is remembered, by origin, as long as the
// program runs. docs/protocol.md describes the wire.
package culvert
