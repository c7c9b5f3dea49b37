// Package api is Culvert over HTTP: emit, receive, acknowledge, reply.
//
// New makes an http.Handler of a queue; any server can mount it. A request
// passes these places in this order:
//
//	visit     times for body and answer, who shows no credentials  visit.go
//	observe   request id, panic, error -> problem+json, metrics   observe.go
//	CORS      preflights end here                                 cors.go
//	admit     credentials, namespace, client, request rate        admit.go
//	handler   emit, reply, events, ack, history, rooms, client,   a file each
//	          namespaces, token
//
// A stream is in one of these states, in one loop (stream.go): greeting
// (culvert:hello), delivering (Poll has events), waiting (woken by an event, a
// heartbeat or one of its ends), retrying (Postgres is away; heartbeats go on),
// and parting (culvert:reconnect). A long poll (poll.go) is the same without
// greeting and parting.
//
// Who a token is from is decided by verifier.go with the keys of trusted.go and
// keyserver.go, or by the application: authenticate.go; what it may is in token.go. limits.go says how much; account.go counts what
// is under way, and anonymous.go those who show no good credentials. listener.go knows
// connections, for what cannot be seen of a request.
//
// Every byte of a stream is made in frame.go, every error becomes a status in
// fault.go. Echo is known to the files that route, admit and answer for it: handler.go,
// admit.go, observe.go, cors.go, probes.go, metrics.go, problem.go and fault.go. Handlers get a *call.
package api
