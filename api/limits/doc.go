// Package limits counts what namespaces and clients use of this instance, and refuses requests above their
// limits.
//
// New makes a Limiter from Limits. Limiter.TakeEvents and TakeRequest enforce rates. Limiter.Enter opens the
// Account of a request, which is charged for its body and its answer until Account.Close. Limiter.Connect
// counts a request that lasts, such as a stream, as a connection instead. All errors for clients are
// *wire.Problem: 429 when a client or namespace is over its limit, 503 when the instance is full.
package limits
