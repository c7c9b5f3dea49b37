// Package handlers runs functions of an application for events, at least once each, on any instance that has a
// free slot: see queue.Queue.Handle.
//
// A handler's events become jobs in Postgres. A job is claimed by one instance for as long as its
// lease, which is renewed while the function runs:
//
//	matching events ──dispatch──► jobs ──claim──► running ──► done (deleted)
//	  (one instance at a time)     ▲                │  └────► parked
//	                               └─── failed, or lease over
//
// Operator lists handlers, and retries or drops their parked events, for the people who operate them.
package handlers
