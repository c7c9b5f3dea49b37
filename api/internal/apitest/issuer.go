package apitest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// Signer makes tokens with one key.
type Signer struct {
	method jwt.SigningMethod
	Key    any
	KID    string // "": none
}

// NewSigner makes a Signer for a method and a key of its kind. kid names the key in its tokens; "": they have
// no kid.
func NewSigner(method jwt.SigningMethod, key any, kid string) Signer { return Signer{method, key, kid} }

// NewKey makes a key for RS256, ES256 or EdDSA.
func NewKey(method jwt.SigningMethod) crypto.Signer {
	var key crypto.Signer
	var err error
	switch method {
	case jwt.SigningMethodRS256:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case jwt.SigningMethodES256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		panic(err)
	}
	return key
}

// Ring has a key of each public kind, made once: making an RSA key is slow.
var Ring = sync.OnceValue(func() map[string]Signer {
	keys := map[string]Signer{}
	for _, m := range []jwt.SigningMethod{jwt.SigningMethodRS256, jwt.SigningMethodES256, jwt.SigningMethodEdDSA} {
		keys[m.Alg()] = Signer{m, NewKey(m), ""}
	}
	return keys
})

// Stranger is a second ring, which no test server trusts.
var Stranger = sync.OnceValue(func() map[string]Signer {
	keys := map[string]Signer{}
	for alg, s := range Ring() {
		keys[alg] = Signer{s.method, NewKey(s.method), ""}
	}
	return keys
})

// HS signs with a secret.
func HS(method jwt.SigningMethod, secret []byte) Signer { return Signer{method, secret, ""} }

// Named returns the signer with a kid in its tokens.
func (s Signer) Named(kid string) Signer {
	s.KID = kid
	return s
}

// Sign makes a token for alice that is valid for an hour, with changes: a nil value removes a claim.
func (s Signer) Sign(t testing.TB, change jwt.MapClaims, header ...map[string]any) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": "alice", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	token := jwt.NewWithClaims(s.method, claims)
	if s.KID != "" {
		token.Header["kid"] = s.KID
	}
	for _, h := range header {
		maps.Copy(token.Header, h)
	}
	text, err := token.SignedString(s.Key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Public is the PEM block of the signer's public key.
func (s Signer) Public() []byte {
	der, err := x509.MarshalPKIXPublicKey(s.Key.(crypto.Signer).Public())
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// PublicKeys are the PEM blocks of a ring.
func PublicKeys(ring map[string]Signer) (all []byte) {
	for _, s := range ring {
		all = append(all, s.Public()...)
	}
	return all
}

// JWK is the public key as a JSON Web Key.
func (s Signer) JWK(t testing.TB) jwkset.JWKMarshal {
	t.Helper()
	jwk, err := jwkset.NewJWKFromKey(s.Key.(crypto.Signer).Public(), jwkset.JWKOptions{
		Metadata: jwkset.JWKMetadataOptions{KID: s.KID, ALG: jwkset.ALG(s.method.Alg()), USE: jwkset.UseSig},
	})
	if err != nil {
		t.Fatal(err)
	}
	return jwk.Marshal()
}

// Issuer is a key server whose answers a test can change or hold.
type Issuer struct {
	t      testing.TB
	Server *httptest.Server

	mu      sync.Mutex
	body    []byte
	status  int
	fetches int
	Hold    chan struct{} // answers wait until it is closed; nil: they do not wait
}

// NewIssuer serves the keys until the test ends.
func NewIssuer(t testing.TB, keys ...Signer) *Issuer {
	t.Helper()
	i := &Issuer{t: t, status: http.StatusOK}
	i.Publish(keys...)
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Server.Close)
	return i
}

// Publish replaces the keys.
func (i *Issuer) Publish(keys ...Signer) {
	i.t.Helper()
	set := jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{}}
	for _, k := range keys {
		set.Keys = append(set.Keys, k.JWK(i.t))
	}
	body, err := json.Marshal(set)
	if err != nil {
		i.t.Fatal(err)
	}
	i.Answer(http.StatusOK, body)
}

// Answer replaces the status and body of answers.
func (i *Issuer) Answer(status int, body []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status, i.body = status, body
}

// Count returns how often the keys were fetched.
func (i *Issuer) Count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

// ServeHTTP implements http.Handler.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.fetches++
	status, body, hold := i.status, i.body, i.Hold
	i.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
