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
// The ladder decides how events come. It is a state machine: ladder.go has its states and
// what can happen in them, transitions.go and hold.go what follows.
//
//	             hello                        hello
//	connecting ---------> streaming <--------------------- trying
//	  |  ^  ^               |   |                           |  ^
//	  |  |  +---- ended ----+   | bursts, silence twice,    |  |
//	  |  |                      | early cuts         failed |  | from time to time,
//	  |  | the poll failed,     |                           |  | later and later
//	  |  | or the way is slow   |                           v  |
//	  |  |                      |              +----------------------+
//	  |  +--------- checking <--+              |        a page        |
//	  |              ^   |         a page      | probing ---> polling |
//	  +--------------+   +-------------------> |         <---         |
//	   no hello, or                            |  failed, or woken    |
//	   refused twice                           +----------------------+
//
// The states:
//
//   - connecting: a stream is asked for. streaming: it has said hello.
//   - checking: the stream failed, and a poll finds out whether the network did. A page
//     leads to polling.
//   - polling: polls are the way, held for as long as the way lets them be, down to not at
//     all. probing: the next one is not held, to see whether anything gets through.
//   - trying: a stream is asked for again, from either. Where it fails, probing follows.
//
// A stream that is insisted on only knows connecting and streaming, polls that are insisted
// on only probing and polling. The ladder of clients/js has the same states;
// testdata/ladder.json has what both must do.
//
// What was found out about a server is remembered, by origin, as long as the
// program runs. The wire is described in docs/protocol.md.
package culvert
