// Package auth decides who sent a request and what they may do.
//
// New makes an Authority, and Authority.Identify finds who sent a request: a backend with an API key, a client
// with a token, or the Caller that the application returns (Options.Authenticate). The Identity that it returns
// says what the sender may do: MayUse is for a namespace, MayRead and MayEmit are for a room. Rights can end.
// So Authority.Check asks again after a body that took long to arrive, and Authority.Holds while a stream is
// open.
//
// A token is checked in this order: its header (claims.go), its signature (verifier.go) with the keys that are
// configured (trusted.go, pem.go) or published by an issuer (keyserver.go, keyset.go), its claims. If the
// signature is bad, the answer says nothing about the token. SignToken makes tokens.
package auth
