package api

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/api/limits"
	"github.com/culvertmq/culvert/event"
)

// Options configure New. Where a field is zero, the default given in its comment holds.
type Options struct {
	// APIKeys are the secrets of backends: each may use every namespace, room and client. New fails if there
	// are no API keys, no key for tokens and no key stored in the database. Each must have at least 16
	// characters: see AllowWeakSecrets.
	APIKeys []string
	// JWTSecret verifies HS256, HS384 and HS512 tokens, for which RFC 7518 requires at least 32, 48 and 64 bytes.
	// New refuses fewer than 32: see AllowWeakSecrets.
	JWTSecret []byte
	// AllowWeakSecrets accepts shorter keys and secrets. Whoever has a token that was signed with a short
	// secret can find the secret by trying, and then make any token.
	AllowWeakSecrets bool
	// JWTPublicKey verifies RS256, ES256 or EdDSA tokens, depending on its type. It is PEM with one or more
	// blocks, each a public key or a certificate.
	JWTPublicKey []byte
	// JWKSURL is where an issuer publishes keys for RS256, ES256 and EdDSA: https, or http on a loopback
	// address. The keys are fetched every 10 minutes, and when a token names a key that is not known yet. Close
	// ends the fetching.
	JWKSURL string
	// JWTAlgorithms are the accepted algorithms; empty: all that the keys are for.
	JWTAlgorithms []string
	// JWTAudience: a token's aud must name one of these. Empty: aud is not checked.
	JWTAudience []string
	// JWTIssuer: a token's iss must be this. Empty: iss is not checked.
	JWTIssuer string
	// JWTLeeway is how far the issuer's clock may be ahead of this one when nbf and iat are checked: 5s, at
	// most a minute; negative: no leeway. exp has no leeway.
	JWTLeeway time.Duration
	// Authenticate is the application's own authentication, for example by a session in a cookie. If it is set,
	// it alone says who sent a request: API keys (stored ones, too) and tokens are not accepted, and New
	// refuses APIKeys, JWTSecret, JWTPublicKey and JWKSURL beside it.
	//
	// It is called for each request below /v1, by many goroutines, before the body is read; it does not get the
	// body. A stream is one request. It should return soon, and give up when the request's context ends. An
	// error that wraps ErrUnauthorized is answered with 401, ErrForbidden with 403, event.ErrUnavailable with
	// 503; any other error, and a panic, with 500, and is logged.
	//
	// Culvert limits callers to their namespaces, rooms and rates, ends streams at Caller.Expires and obeys
	// Registry.Revoke. The application must protect its cookies: they must be HttpOnly, Secure and SameSite,
	// and pages of other sites must not be able to use them (http.CrossOriginProtection). CORSOrigins never
	// allow cookies. Streams cannot be renewed: they end at Caller.Expires, and clients reconnect by
	// themselves.
	Authenticate func(*http.Request) (Caller, error)
	// Heartbeat is how long a stream may be silent before it gets a heartbeat: 15s.
	Heartbeat time.Duration
	// MaxAge is how long a stream may last: 3300s. Each gets up to a tenth less, so that streams that began
	// together do not end together.
	MaxAge time.Duration
	// MaxWait bounds how long a long poll is held: 50s, which is also the highest value.
	MaxWait time.Duration
	// MaxRooms is how many rooms a client may be in: 1000.
	MaxRooms int
	// RoomQuota bounds how many rooms a client may make with its token, and how many a namespace may have if
	// requests make them. nil: 10,000 and 1,000,000.
	RoomQuota *event.RoomQuota
	// WriteTimeout bounds each write to a client that does not read: 15s.
	WriteTimeout time.Duration
	// NoParking gives each stream a goroutine and buffers of its own. Otherwise a stream is parked where that is
	// possible: on Linux, over HTTP/1.1 without TLS, if the server's Handler is the one that New returns, its listener
	// is Handler.Listener, and it has no BaseContext. A parked stream takes a tenth of the memory. Server.Shutdown
	// and Server.Close do not know of it: Drain, Wait and Close end it.
	NoParking bool
	// CORSOrigins are the origins, such as "https://app.example", whose pages may use this server. Empty: only
	// pages of its own origin.
	CORSOrigins []string
	// Demo serves GET, HEAD and POST below /demo/, without credentials; nil: there is no demo.
	Demo http.Handler
	// Limits bound what one namespace or client may use of this instance. nil: DefaultLimits; new(Limits): no
	// limits.
	Limits *Limits
	// Logger: slog.Default. It never receives tokens, query strings or payloads.
	Logger *slog.Logger
	// Registerer is where the metrics are registered; nil: nowhere.
	Registerer prometheus.Registerer

	bodyTimeout time.Duration // 30s; only tests set it
}

// bodyTimeout is how long a request's body may take, even if no handler reads it: the rest is then read after
// the answer (package visit).
const bodyTimeout = 30 * time.Second

// maxWait is the longest wait that a request may ask for.
const maxWait = 50 * time.Second

// withDefaults sets the defaults of zero fields and checks all fields.
func (o Options) withDefaults() (Options, error) {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.Heartbeat, 15*time.Second)
	def(&o.MaxAge, 3300*time.Second)
	def(&o.MaxWait, maxWait)
	def(&o.WriteTimeout, 15*time.Second)
	def(&o.bodyTimeout, bodyTimeout)
	def(&o.JWTLeeway, 5*time.Second)
	o.JWTLeeway = max(o.JWTLeeway, 0)
	if o.MaxRooms == 0 {
		o.MaxRooms = 1000
	}
	if o.Limits == nil {
		o.Limits = new(DefaultLimits())
	}
	if o.RoomQuota == nil {
		o.RoomQuota = &event.RoomQuota{Client: 10_000, Namespace: 1_000_000}
	}
	// Copies: the caller may overwrite its secrets, or use its Options again.
	o.Limits, o.RoomQuota = new(*o.Limits), new(*o.RoomQuota)
	o.JWTSecret, o.JWTPublicKey = bytes.Clone(o.JWTSecret), bytes.Clone(o.JWTPublicKey)
	for _, list := range []*[]string{&o.APIKeys, &o.JWTAlgorithms, &o.JWTAudience, &o.CORSOrigins} {
		*list = slices.Clone(*list)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, o.check()
}

func (o Options) check() error {
	if err := o.credentials().Check(); err != nil {
		return err
	}
	switch {
	case o.Heartbeat < 0, o.MaxAge < 0, o.MaxWait < 0, o.WriteTimeout < 0:
		return errors.New("durations must not be negative")
	case o.MaxRooms < 0:
		return errors.New("MaxRooms must not be negative")
	case o.RoomQuota.Client < 0, o.RoomQuota.Namespace < 0:
		return errors.New("RoomQuota must not be negative")
	case o.MaxWait > maxWait:
		return fmt.Errorf("MaxWait must be at most %v", maxWait)
	}
	for _, origin := range o.CORSOrigins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != origin {
			return fmt.Errorf("CORS origin %q: want scheme://host[:port] and nothing else", origin)
		}
		for _, c := range origin {
			if c == '*' || c == '?' {
				return fmt.Errorf("CORS origin %q: patterns are not supported, name each origin", origin)
			}
		}
	}
	return errors.Join(o.CheckTokens(), o.CheckSecrets(), o.Limits.Check())
}

// credentials returns the options that say which credentials are accepted.
func (o Options) credentials() auth.Options {
	return auth.Options{
		APIKeys: o.APIKeys, Secret: o.JWTSecret, PublicKey: o.JWTPublicKey, JWKSURL: o.JWKSURL,
		Algorithms: o.JWTAlgorithms, Audience: o.JWTAudience, Issuer: o.JWTIssuer, Leeway: o.JWTLeeway,
		AllowWeakSecrets: o.AllowWeakSecrets, Authenticate: o.Authenticate, Logger: o.Logger,
	}
}

// CheckSecrets reports the API keys and secrets that New would refuse because they are too short.
func (o Options) CheckSecrets() error { return o.credentials().CheckSecrets() }

// CheckTokens reports the JWT options that New would refuse.
func (o Options) CheckTokens() error { return o.credentials().CheckTokens() }

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
