package api

import (
	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/api/limits"
)

// Caller is who sent a request, as the application's own authentication says: see
// Options.Authenticate.
type Caller = auth.Caller

// These are the errors with which Options.Authenticate refuses a request. The client is shown the text of an
// error that wraps one of them.
var (
	// ErrUnauthorized is answered with 401: the request has no credentials, or bad ones.
	ErrUnauthorized = auth.ErrUnauthorized
	// ErrForbidden is answered with 403: the sender is known, but may not use Culvert.
	ErrForbidden = auth.ErrForbidden
)

// Claims are the claims of a token, for SignToken.
type Claims = auth.Claims

// List is a list of strings in Claims. In a token a single string counts as a list of one.
type List = auth.List

// SignToken makes an HS256 token with the claims. Errors: the claims could never be valid, or secret is empty.
func SignToken(secret []byte, c Claims) (string, error) { return auth.SignToken(secret, c) }

// Limits are what one instance grants a namespace and each of its clients.
type Limits = limits.Limits

// DefaultLimits returns the limits of an instance for which none are configured.
func DefaultLimits() Limits { return limits.Default() }
