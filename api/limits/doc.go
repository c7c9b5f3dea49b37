// Package limits counts what namespaces and clients take of this instance, and refuses what is too much.
//
// New makes a Limiter of Limits. Limiter.TakeEvents and TakeRequest hold everybody to their rates; Limiter.Enter
// opens the Account of a request, which is charged for its body and its answer until Account.Close;
// and Limiter.Connect counts one that lasts, such as a stream, as a connection instead.
// All errors for clients are *wire.Problem: 429 where somebody takes too much, 503 where the instance is full.
package limits
