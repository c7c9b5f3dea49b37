package api

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

// signer makes tokens with one key.
type signer struct {
	method jwt.SigningMethod
	key    any
	kid    string // "": none
}

func newKey(method jwt.SigningMethod) crypto.Signer {
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

// ring has a key of each public kind, made once: RSA takes its time.
var ring = sync.OnceValue(func() map[string]signer {
	keys := map[string]signer{}
	for _, m := range []jwt.SigningMethod{jwt.SigningMethodRS256, jwt.SigningMethodES256, jwt.SigningMethodEdDSA} {
		keys[m.Alg()] = signer{m, newKey(m), ""}
	}
	return keys
})

// stranger is a second ring, which nobody trusts.
var stranger = sync.OnceValue(func() map[string]signer {
	keys := map[string]signer{}
	for alg, s := range ring() {
		keys[alg] = signer{s.method, newKey(s.method), ""}
	}
	return keys
})

func hs(method jwt.SigningMethod, secret []byte) signer { return signer{method, secret, ""} }

// named is the signer with a kid in its tokens.
func (s signer) named(kid string) signer {
	s.kid = kid
	return s
}

// sign makes a token for alice that is good for an hour, with changes: a nil
// value removes a claim.
func (s signer) sign(t testing.TB, change jwt.MapClaims, header ...map[string]any) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": "alice", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	token := jwt.NewWithClaims(s.method, claims)
	if s.kid != "" {
		token.Header["kid"] = s.kid
	}
	for _, h := range header {
		maps.Copy(token.Header, h)
	}
	text, err := token.SignedString(s.key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// public is the PEM block of the signer's public key.
func (s signer) public() []byte {
	der, err := x509.MarshalPKIXPublicKey(s.key.(crypto.Signer).Public())
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// publicKeys are the PEM blocks of a ring.
func publicKeys(ring map[string]signer) (all []byte) {
	for _, s := range ring {
		all = append(all, s.public()...)
	}
	return all
}

// jwk is the public key as a JSON Web Key.
func (s signer) jwk(t testing.TB) jwkset.JWKMarshal {
	t.Helper()
	jwk, err := jwkset.NewJWKFromKey(s.key.(crypto.Signer).Public(), jwkset.JWKOptions{
		Metadata: jwkset.JWKMetadataOptions{KID: s.kid, ALG: jwkset.ALG(s.method.Alg()), USE: jwkset.UseSig},
	})
	if err != nil {
		t.Fatal(err)
	}
	return jwk.Marshal()
}

// issuer is a key server that can be changed and broken.
type issuer struct {
	t      testing.TB
	server *httptest.Server

	mu      sync.Mutex
	body    []byte
	status  int
	fetches int
	hold    chan struct{} // answers wait for its end; nil: they do not
}

func newIssuer(t testing.TB, keys ...signer) *issuer {
	t.Helper()
	i := &issuer{t: t, status: http.StatusOK}
	i.publish(keys...)
	i.server = httptest.NewServer(i)
	t.Cleanup(i.server.Close)
	return i
}

// publish replaces the keys.
func (i *issuer) publish(keys ...signer) {
	i.t.Helper()
	set := jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{}}
	for _, k := range keys {
		set.Keys = append(set.Keys, k.jwk(i.t))
	}
	body, err := json.Marshal(set)
	if err != nil {
		i.t.Fatal(err)
	}
	i.answer(http.StatusOK, body)
}

func (i *issuer) answer(status int, body []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status, i.body = status, body
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

// ServeHTTP implements http.Handler.
func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.fetches++
	status, body, hold := i.status, i.body, i.hold
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
