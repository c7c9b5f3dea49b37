// Package queue is Culvert's log in Postgres and its delivery: the front door over queue/log, queue/tail,
// queue/registry and queue/handlers.
//
// Most callers need Open, Queue.Append, Queue.Subscribe, Subscription.Next and Queue.Ack; for rooms Queue.Join
// and Queue.Leave, for replies Queue.Reply and Queue.Await, and Queue.Handle to run functions for events.
// EmitTx emits inside the application's own transaction. Nothing in this package concerns HTTP.
//
// One Postgres database holds one log. Any instance takes emits, and stores them in a transaction that holds
// the append lock. So commits have the order of offsets, and a reader that continues after an offset never misses
// an event that became visible late.
//
//	Append ──► log: appender ──► culvert.append() ──► Postgres ──► NOTIFY
//	            (one call at a time,                     │            │
//	             whole batches)                          ▼            ▼
//	                 └── own events ───────────────►   tail  ◄── log: follower
//	                                                     │      (reads once per wake)
//	Subscription.Poll ◄── recent: from the tail ─────────┤
//	                  ◄── older: a page from Postgres
//
// An event therefore passes these states: accepted (it waits in the appender's bounded
// queue), appended (it is committed and has an offset), tailed (it is in this instance's
// memory), delivered (Poll returned it), acknowledged (a client's stored cursor
// passed it), pruned (its slice was dropped; readers that missed it get a Gap).
//
// This package itself owns subscriptions with their cursors (subscription.go, catchup.go, source.go), stored
// cursors (acks.go), who is online (presence.go), volatile events, which do not go through the log
// (volatile.go), and replies (reply.go, await.go).
package queue
