package api

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// algorithms are all that tokens may be signed with.
var algorithms = []string{"HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"}

// Sizes of RSA keys: RFC 7518, section 3.3, asks for the least; the most bounds
// what verifying a token may cost.
const minRSA, maxRSA = 2048, 8192

// maxLeeway bounds Options.JWTLeeway: clocks further apart need repair.
const maxLeeway = time.Minute

// trusted is a key with the algorithms it may verify. They belong to the key, so
// that a token cannot choose how it is checked: a public key is never a secret.
type trusted struct {
	algorithms []string
	key        jwt.VerificationKey
}

// algorithmsOf is what a key can verify here; nothing for one of no use.
func algorithmsOf(key any) []string {
	switch k := key.(type) {
	case []byte:
		return []string{"HS256", "HS384", "HS512"}
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits >= minRSA && bits <= maxRSA {
			return []string{"RS256"}
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return []string{"ES256"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	return nil
}

// trust pins the key to those of its algorithms that are wanted.
func trust(key any, wanted []string) trusted {
	can := algorithmsOf(key)
	return trusted{slices.DeleteFunc(can, func(a string) bool { return !slices.Contains(wanted, a) }), key}
}

// keysFor adds the keys that may verify the algorithm to set.
func keysFor(set []jwt.VerificationKey, keys []trusted, algorithm string) []jwt.VerificationKey {
	for _, k := range keys {
		if slices.Contains(k.algorithms, algorithm) {
			set = append(set, k.key)
		}
	}
	return set
}

// CheckTokens reports what New would refuse of the JWT options.
func (o Options) CheckTokens() error {
	if o.JWTLeeway > maxLeeway {
		return fmt.Errorf("the JWT leeway must be at most %v", maxLeeway)
	}
	if slices.Contains(o.JWTAudience, "") {
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
	if len(o.JWTAlgorithms) > 0 {
		return o.JWTAlgorithms
	}
	return algorithms
}

// localKeys are the secret and the public keys. Every key must be good for a
// pinned algorithm, and every algorithm must have a key: what nothing matches is
// a mistake that would otherwise show as a 401.
func (o Options) localKeys() ([]trusted, error) {
	for _, a := range o.JWTAlgorithms {
		if !slices.Contains(algorithms, a) {
			return nil, fmt.Errorf("the JWT algorithm %q is not supported: choose of %s", a, strings.Join(algorithms, ", "))
		}
	}
	var raw []any
	if len(o.JWTSecret) > 0 {
		raw = append(raw, o.JWTSecret)
	}
	if len(o.JWTPublicKey) > 0 {
		public, err := parsePublicKeys(o.JWTPublicKey)
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
				describe(key), strings.Join(algorithmsOf(key), ", "), strings.Join(o.JWTAlgorithms, ", "))
		}
		keys, can = append(keys, t), append(can, t.algorithms...)
	}
	for _, a := range o.JWTAlgorithms {
		if !slices.Contains(can, a) && (o.JWKSURL == "" || strings.HasPrefix(a, "HS")) {
			return nil, fmt.Errorf("the JWT algorithm %s has no key that could verify it: give one, or leave it out", a)
		}
	}
	return keys, nil
}
