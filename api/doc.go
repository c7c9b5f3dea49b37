// Package api is Culvert over HTTP: emit, receive, acknowledge, reply.
//
// New makes an http.Handler for a queue; any server can mount it. A request
// passes these places in this order:
//
//	visit     time limits, requests without credentials    package visit
//	observe   request id, panic, error -> problem+json, metrics    observe.go
//	CORS      preflights end here                                  handler.go
//	admit     credentials, namespace, client, request rate         admit.go
//	handler   emit, reply, events, ack, history, rooms, client,    a file each
//	          namespaces, token
//
// A stream has these states, in one loop (stream.go): greeting
// (culvert:hello), delivering (Poll has events), waiting (woken by an event, a
// heartbeat or one of its ends), retrying (Postgres fails; heartbeats are still sent),
// and parting (culvert:reconnect). A long poll (events.go) is the same without
// greeting and parting.
//
// Package auth decides who sent a request and what they may do. Package limits bounds how much they may use.
// Package wire makes all bytes that are sent, and turns errors into problems.
//
// Only the files that need Echo's router or context import Echo: handler.go, admit.go, observe.go,
// probes.go and metrics.go. All other handlers get a *call.
package api
