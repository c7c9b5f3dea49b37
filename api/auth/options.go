package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Options say whose requests are taken. api.Options, from which they come, says what each means.
type Options struct {
	APIKeys          []string
	Secret           []byte // for HS256, HS384 and HS512
	PublicKey        []byte // PEM
	JWKSURL          string
	Algorithms       []string
	Audience         []string
	Issuer           string
	Leeway           time.Duration // at least 0
	AllowWeakSecrets bool
	// Authenticate is the application's own authentication. It excludes the fields above.
	Authenticate func(*http.Request) (Caller, error)
	Logger       *slog.Logger
}

// maxLeeway bounds Options.Leeway: clocks further apart need repair.
const maxLeeway = time.Minute

// Check reports keys that cannot be, and ways to authenticate that exclude each other.
func (o Options) Check() error {
	switch {
	case o.Authenticate != nil && (len(o.APIKeys) > 0 || o.TakesTokens()):
		return errors.New("Authenticate is set beside APIKeys, JWTSecret, JWTPublicKey or JWKSURL, which it replaces: set one or the other") //nolint:staticcheck // a field's name begins it
	case slices.Contains(o.APIKeys, ""):
		return errors.New("an API key is empty")
	}
	return nil
}

// TakesTokens reports whether there is anything to verify a token with.
func (o Options) TakesTokens() bool {
	return len(o.Secret) > 0 || len(o.PublicKey) > 0 || o.JWKSURL != ""
}

// The least lengths of what must not be guessed: 32 bytes is what RFC 7518, section 3.2,
// wants of a key for HS256, and 16 random characters are at least 64 bits.
const minAPIKey, minSecret = 16, 32

// CheckSecrets reports which API keys and secrets are too short.
func (o Options) CheckSecrets() error {
	if o.AllowWeakSecrets {
		return nil
	}
	const way = "make a longer one, such as  openssl rand -hex 32  prints, or take it all the same with --allow-weak-secrets (AllowWeakSecrets)"
	var short []error
	for i, key := range o.APIKeys {
		if len(key) < minAPIKey {
			short = append(short, fmt.Errorf("API key %d of %d has %d characters, fewer than %d: %s", i+1, len(o.APIKeys), len(key), minAPIKey, way))
		}
	}
	if n := len(o.Secret); n > 0 && n < minSecret {
		short = append(short, fmt.Errorf("the JWT secret has %d bytes, fewer than %d: %s", n, minSecret, way))
	}
	return errors.Join(short...)
}

// CheckTokens reports which of the options for tokens are wrong or do not fit together.
func (o Options) CheckTokens() error {
	if o.Leeway > maxLeeway {
		return fmt.Errorf("the JWT leeway must be at most %v", maxLeeway)
	}
	if slices.Contains(o.Audience, "") {
		return errors.New("a JWT audience is empty")
	}
	if o.JWKSURL != "" {
		u, err := url.Parse(o.JWKSURL)
		if err != nil || !isKeyServer(u) {
			return errors.New("the JWKS URL must be https://host/path; http is for loopback addresses only, and credentials cannot stand in it")
		}
	}
	_, err := o.localKeys()
	return err
}

// isKeyServer reports whether keys may come from the URL: whoever can change
// them on the way can make tokens.
func isKeyServer(u *url.URL) bool {
	host := u.Hostname()
	ip := net.ParseIP(host)
	loopback := host == "localhost" || ip != nil && ip.IsLoopback()
	return host != "" && u.User == nil && u.Fragment == "" && (u.Scheme == "https" || u.Scheme == "http" && loopback)
}

// pinned are the algorithms that are accepted at all.
func (o Options) pinned() []string {
	if len(o.Algorithms) > 0 {
		return o.Algorithms
	}
	return algorithms
}

// localKeys are the secret and the public keys. Every key must be good for a
// pinned algorithm, and every algorithm must have a key: what nothing matches is
// a mistake that would otherwise show as a 401.
func (o Options) localKeys() ([]trusted, error) {
	for _, a := range o.Algorithms {
		if !slices.Contains(algorithms, a) {
			return nil, fmt.Errorf("the JWT algorithm %q is not supported: choose of %s", a, strings.Join(algorithms, ", "))
		}
	}
	var raw []any
	if len(o.Secret) > 0 {
		raw = append(raw, o.Secret)
	}
	if len(o.PublicKey) > 0 {
		public, err := parsePublicKeys(o.PublicKey)
		if err != nil {
			return nil, fmt.Errorf("the JWT public key %w", err)
		}
		raw = append(raw, public...)
	}
	var keys []trusted
	var can []string
	for _, key := range raw {
		t := trust(key, o.pinned())
		if len(t.algorithms) == 0 {
			return nil, fmt.Errorf("%s verifies %s, which the JWT algorithms leave out: they are %s",
				describe(key), strings.Join(algorithmsOf(key), ", "), strings.Join(o.Algorithms, ", "))
		}
		keys, can = append(keys, t), append(can, t.algorithms...)
	}
	for _, a := range o.Algorithms {
		if !slices.Contains(can, a) && (o.JWKSURL == "" || strings.HasPrefix(a, "HS")) {
			return nil, fmt.Errorf("the JWT algorithm %s has no key that could verify it: give one, or leave it out", a)
		}
	}
	return keys, nil
}
