package api

import (
	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/api/limits"
)

// Caller is who sent a request, as the application's own authentication says: see
// Options.Authenticate.
type Caller = auth.Caller

// What Options.Authenticate refuses with. The client is shown the text of an error that wraps one of them.
var (
	// ErrUnauthorized is answered with 401: the request has no credentials, or bad ones.
	ErrUnauthorized = auth.ErrUnauthorized
	// ErrForbidden is answered with 403: it is known who asks, and they may not use Culvert.
	ErrForbidden = auth.ErrForbidden
)

// Claims are what a token says, for SignToken.
type Claims = auth.Claims

// List is a list of strings in Claims; in a token it may be a single one.
type List = auth.List

// SignToken makes an HS256 token of the claims. Errors: the claims could never be valid, or secret is empty.
func SignToken(secret []byte, c Claims) (string, error) { return auth.SignToken(secret, c) }

// Limits are what one instance takes from a namespace and from each of its clients.
type Limits = limits.Limits

// DefaultLimits are those of an instance that nobody has set any for.
func DefaultLimits() Limits { return limits.Default() }
