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

// Options say which credentials are accepted. api.Options documents what each field means.
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
	// Authenticate is the application's own authentication. It cannot be set together with the fields above.
	Authenticate func(*http.Request) (Caller, error)
	Logger       *slog.Logger
}

// maxLeeway bounds Options.Leeway: if clocks differ by more, they need repair.
const maxLeeway = time.Minute

// Check reports an empty API key, and ways to authenticate that exclude each other.
func (o Options) Check() error {
	switch {
	case o.Authenticate != nil && (len(o.APIKeys) > 0 || o.TakesTokens()):
		return errors.New("Authenticate replaces APIKeys, JWTSecret, JWTPublicKey and JWKSURL: set either Authenticate or those") //nolint:staticcheck // a field's name begins it
	case slices.Contains(o.APIKeys, ""):
		return errors.New("an API key is empty")
	}
	return nil
}

// TakesTokens reports whether a key to verify tokens with is configured.
func (o Options) TakesTokens() bool {
	return len(o.Secret) > 0 || len(o.PublicKey) > 0 || o.JWKSURL != ""
}

// These are the least lengths of secrets that nobody can guess. RFC 7518, section 3.2, requires 32 bytes for
// HS256; 16 random characters have at least 64 bits.
const minAPIKey, minSecret = 16, 32

// CheckSecrets reports which API keys and secrets are too short.
func (o Options) CheckSecrets() error {
	if o.AllowWeakSecrets {
		return nil
	}
	const way = "make a longer one with  openssl rand -hex 32 , or allow this one with --allow-weak-secrets (AllowWeakSecrets)"
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

// CheckTokens reports options for tokens that are wrong or do not fit together.
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
			return errors.New("the JWKS URL must be https://host/path; http is for loopback addresses only, and the URL must not contain credentials")
		}
	}
	_, err := o.localKeys()
	return err
}

// isKeyServer reports whether keys may be fetched from the URL. Whoever can change keys on their way can make
// tokens, so it must be https or a loopback address.
func isKeyServer(u *url.URL) bool {
	host := u.Hostname()
	ip := net.ParseIP(host)
	loopback := host == "localhost" || ip != nil && ip.IsLoopback()
	return host != "" && u.User == nil && u.Fragment == "" && (u.Scheme == "https" || u.Scheme == "http" && loopback)
}

// pinned returns the algorithms that tokens may use.
func (o Options) pinned() []string {
	if len(o.Algorithms) > 0 {
		return o.Algorithms
	}
	return algorithms
}

// localKeys returns the configured secret and public keys. Every key must fit a pinned algorithm, and every
// algorithm must have a key. Anything else is a mistake in the configuration that would otherwise show only as
// 401.
func (o Options) localKeys() ([]trusted, error) {
	for _, a := range o.Algorithms {
		if !slices.Contains(algorithms, a) {
			return nil, fmt.Errorf("the JWT algorithm %q is not supported: choose from %s", a, strings.Join(algorithms, ", "))
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
			return nil, fmt.Errorf("%s verifies %s, which is not among the JWT algorithms: they are %s",
				describe(key), strings.Join(algorithmsOf(key), ", "), strings.Join(o.Algorithms, ", "))
		}
		keys, can = append(keys, t), append(can, t.algorithms...)
	}
	for _, a := range o.Algorithms {
		if !slices.Contains(can, a) && (o.JWKSURL == "" || strings.HasPrefix(a, "HS")) {
			return nil, fmt.Errorf("the JWT algorithm %s has no key that verifies it: configure one, or remove the algorithm", a)
		}
	}
	return keys, nil
}
