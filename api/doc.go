// Package api is Culvert over HTTP: emit, receive, acknowledge, reply.
//
// New makes an http.Handler of a queue; any server can mount it. A request
// passes these places in this order:
//
//	visit     times for body and answer, who shows no credentials  package visit
//	observe   request id, panic, error -> problem+json, metrics    observe.go
//	CORS      preflights end here                                  handler.go
//	admit     credentials, namespace, client, request rate         admit.go
//	handler   emit, reply, events, ack, history, rooms, client,    a file each
//	          namespaces, token
//
// A stream is in one of these states, in one loop (stream.go): greeting
// (culvert:hello), delivering (Poll has events), waiting (woken by an event, a
// heartbeat or one of its ends), retrying (Postgres is away; heartbeats go on),
// and parting (culvert:reconnect). A long poll (poll.go) is the same without
// greeting and parting.
//
// Package auth knows who a request comes from and what they may do, package limits how much they may take,
// and package wire every byte that is sent, and which problem an error is.
//
// Echo is known to the files that route, admit and answer for it: handler.go, admit.go, observe.go,
// probes.go and metrics.go. Handlers get a *call.
package api
