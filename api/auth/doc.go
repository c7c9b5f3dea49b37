// Package auth decides who a request comes from and what they may do.
//
// New makes an Authority, and Authority.Identify finds who sent a request: a backend with an API key, a client
// with a token, or whoever the application says (Options.Authenticate). Ask the Identity that it
// returns for rights: MayUse for a namespace, MayRead and MayEmit for a room. Rights end, so
// Authority.Check asks again after a body that took its time, and Authority.Holds while a stream is open.
//
// A token is checked in this order: its header (claims.go), its signature (verifier.go) with the keys that are
// configured (trusted.go, pem.go) or published by an issuer (keyserver.go, keyset.go), its claims. Nothing is
// told of a token whose signature is bad. SignToken makes tokens.
package auth
