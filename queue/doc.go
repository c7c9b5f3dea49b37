// Package queue is Culvert's log in Postgres and its delivery.
//
// One Postgres database holds one log. Whatever instance an emit reaches,
// append stores it in a transaction that holds the append lock, so
// commit order is offset order and a reader that goes on after an offset never
// misses one that became visible late.
//
//	Append ──► appender ──► culvert.append() ──► Postgres ──► NOTIFY
//	            (one call at a time,                │            │
//	             whole batches)                     ▼            ▼
//	                 └── own events ──────────►   tail  ◄──── follower
//	                                               │      (reads once per wake)
//	Subscription.Poll ◄── recent: from the tail ───┤
//	                  ◄── older: a page from Postgres
//
// An event therefore passes these states: accepted (in the appender's bounded
// queue), appended (committed, has an offset), tailed (in this instance's
// memory), delivered (returned by Poll), acknowledged (a client's stored cursor
// passed it), pruned (its slice was dropped; readers that missed it get a Gap).
//
// Beside emits, the membership writer enters joins and leaves into the log (membershipentry.go, interval.go),
// volatile events pass instances by without it (volatile.go), presence keeps who is
// online, and the Registry has what operators set.
//
// Most callers need Open, Queue.Append, Queue.Subscribe, Subscription.Next and
// Queue.Ack; for rooms Queue.Join and Queue.Leave, for replies Queue.Reply and
// Queue.Await, and Queue.Handle to run functions for events. The package knows nothing
// of HTTP.
package queue
