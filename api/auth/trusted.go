package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// algorithms are those that tokens may be signed with.
var algorithms = []string{"HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"}

// RSA keys must have minRSA bits at least (RFC 7518, section 3.3), and maxRSA at most, which bounds the time to
// verify a token.
const minRSA, maxRSA = 2048, 8192

// trusted is a key with the algorithms it may verify. The algorithms belong to the key, so that a token cannot
// choose how it is checked: a public key is never used as an HMAC secret.
type trusted struct {
	algorithms []string
	key        jwt.VerificationKey
}

// algorithmsOf returns the algorithms that a key can verify here; nil for a key that cannot be used.
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

// trust limits the key to those of its algorithms that this server accepts.
func trust(key any, wanted []string) trusted {
	can := algorithmsOf(key)
	return trusted{slices.DeleteFunc(can, func(a string) bool { return !slices.Contains(wanted, a) }), key}
}

// keysFor adds to set those keys that may verify the algorithm.
func keysFor(set []jwt.VerificationKey, keys []trusted, algorithm string) []jwt.VerificationKey {
	for _, k := range keys {
		if slices.Contains(k.algorithms, algorithm) {
			set = append(set, k.key)
		}
	}
	return set
}
