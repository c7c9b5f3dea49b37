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
	"github.com/culvertmq/culvert/event"
)

// Options configure New. Zero fields mean the default given.
type Options struct {
	// APIKeys are the secrets of backends: each opens every namespace, room and
	// client. Without any, without a key for tokens and without a key stored in
	// the database, New fails.
	// Each must have 16 characters at least: see AllowWeakSecrets.
	APIKeys []string
	// JWTSecret verifies HS256, HS384 and HS512 tokens; RFC 7518 wants 32, 48
	// and 64 bytes or more. Fewer than 32 are refused: see AllowWeakSecrets.
	JWTSecret []byte
	// AllowWeakSecrets takes shorter keys and secrets all the same. Whoever has a token
	// of a short secret can find the secret by trying, and then makes tokens.
	AllowWeakSecrets bool
	// JWTPublicKey verifies RS256, ES256 or EdDSA tokens, whichever its type is
	// for: PEM, one block or several, each a public key or a certificate.
	JWTPublicKey []byte
	// JWKSURL is where an issuer publishes keys for RS256, ES256 and EdDSA: https,
	// or http on a loopback address. They are fetched every 10 minutes, and when
	// a token names one that is not known yet. Close ends that.
	JWKSURL string
	// JWTAlgorithms are those accepted; empty means all that the keys are for.
	JWTAlgorithms []string
	// JWTAudience: a token's aud must name one of these. Empty: aud is ignored.
	JWTAudience []string
	// JWTIssuer: a token's iss must be this. Empty: iss is ignored.
	JWTIssuer string
	// JWTLeeway is how far the issuer's clock may be ahead of this one when nbf and
	// iat are checked: 5s, at most a minute; negative: not at all. exp is exact.
	JWTLeeway time.Duration
	// Authenticate is the application's own authentication, such as by the session in a cookie. It alone
	// then says who a request comes from: API keys, also those stored in the database, and tokens
	// are not taken, and New refuses APIKeys, JWTSecret, JWTPublicKey and JWKSURL beside it.
	//
	// It is called for each request below /v1, by many goroutines, before anything is read of the
	// body, which it does not get; a stream is one request. It should answer soon, and give up
	// when the request's context ends. An error that wraps ErrUnauthorized is answered with 401,
	// ErrForbidden 403, event.ErrUnavailable 503; any other, and a panic, is 500 and logged.
	//
	// Culvert holds callers to their namespaces, rooms, rates and limits, ends streams at Caller.Expires
	// and follows Registry.Revoke. The application sees to what cookies need: that they are HttpOnly, Secure
	// and SameSite, and that no other site's pages can use them (http.CrossOriginProtection).
	// CORSOrigins never allow cookies. Streams cannot be renewed: they end at Caller.Expires, and
	// clients come back by themselves.
	Authenticate func(*http.Request) (Caller, error)
	// Heartbeat is the silence after which a stream gets a heartbeat: 15s.
	Heartbeat time.Duration
	// MaxAge ends a stream after this time, less up to a tenth so that streams
	// opened together do not return together: 3300s.
	MaxAge time.Duration
	// MaxWait bounds how long a long poll is held: 50s, which is also the most
	// it can be.
	MaxWait time.Duration
	// MaxRooms bounds the rooms a client may be in: 1000.
	MaxRooms int
	// RoomQuota bounds the rooms that a client makes with its token, and that a namespace
	// has, as far as requests make them. nil: 10,000 and 1,000,000.
	RoomQuota *event.RoomQuota
	// WriteTimeout bounds every single write to a client that does not read: 15s.
	WriteTimeout time.Duration
	// CORSOrigins are the origins, such as "https://app.example", whose pages
	// may use this server. None: only pages of its own origin.
	CORSOrigins []string
	// Demo serves GET and POST below /demo/, without credentials; nil: nobody does.
	Demo http.Handler
	// Limits bound what one namespace or client may take of this instance. nil: DefaultLimits;
	// new(Limits) bounds nothing.
	Limits *Limits
	// Logger: slog.Default. It never receives tokens, query strings or payloads.
	Logger *slog.Logger
	// Registerer receives the metrics; nil keeps none.
	Registerer prometheus.Registerer

	bodyTimeout time.Duration // 30s; only tests change it
}

// maxWait is the longest wait a request may ask for.
const maxWait = 50 * time.Second

// withDefaults fills zero fields and checks the rest.
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
	// Copies: the caller may wipe its secrets, or use its Options again.
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
		return errors.New("max rooms must not be negative")
	case o.RoomQuota.Client < 0, o.RoomQuota.Namespace < 0:
		return errors.New("the quota of rooms must not be negative")
	case o.MaxWait > maxWait:
		return fmt.Errorf("max wait must be at most %v", maxWait)
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

// credentials are the part of the options that says whose requests are taken.
func (o Options) credentials() auth.Options {
	return auth.Options{
		APIKeys: o.APIKeys, Secret: o.JWTSecret, PublicKey: o.JWTPublicKey, JWKSURL: o.JWKSURL,
		Algorithms: o.JWTAlgorithms, Audience: o.JWTAudience, Issuer: o.JWTIssuer, Leeway: o.JWTLeeway,
		AllowWeakSecrets: o.AllowWeakSecrets, Authenticate: o.Authenticate, Logger: o.Logger,
	}
}

// CheckSecrets reports which API key or secret New would refuse for its length.
func (o Options) CheckSecrets() error { return o.credentials().CheckSecrets() }

// CheckTokens reports what New would refuse of the JWT options.
func (o Options) CheckTokens() error { return o.credentials().CheckTokens() }
