package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// verification is what a token was verified with.
type verification struct {
	algorithm string
	key       jwt.VerificationKey
}

// verifiedBy is the key of the set that a parsed token was verified with.
func verifiedBy(t *jwt.Token, set []jwt.VerificationKey) jwt.VerificationKey {
	if len(set) == 1 {
		return set[0]
	}
	signed := t.Raw[:strings.LastIndexByte(t.Raw, '.')]
	for _, key := range set {
		if t.Method.Verify(signed, t.Signature, key) == nil {
			return key
		}
	}
	return nil
}

// Instances that share a database need not trust the same issuers. So a renewal says which
// key its token was verified with, by a code made with that key over what it changes; an
// instance that would not have taken the token does not take the renewal. The token itself
// would prove as much, but would then be stored, for everybody who reads the table or a backup of it.

// proof is that code. Audience and issuer are part of it: a token that is good enough for
// one instance need not be for another with the same key.
func (v *verifier) proof(key jwt.VerificationKey, ns event.Namespace, client event.Client, r *Renewal) []byte {
	secret, ok := key.([]byte)
	if !ok {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return nil
		}
		secret = der
	}
	said, err := json.Marshal([]any{"culvert renewal", v.rules, ns.String(), client.String(), r.Expires.Unix(), r.Rooms, r.Algorithm})
	if err != nil {
		return nil
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(said)
	return mac.Sum(nil)
}

// proves reports whether a key that this instance trusts verified the token of a renewal.
func (v *verifier) proves(ns event.Namespace, client event.Client, r *Renewal) bool {
	if v == nil || r.Proof == nil {
		return false
	}
	keys := slices.Clone(v.local)
	if v.remote != nil {
		if known := v.remote.known(); known != nil {
			keys = append(keys, known.all...)
		}
	}
	return slices.ContainsFunc(keys, func(k trusted) bool {
		return slices.Contains(k.algorithms, r.Algorithm) && hmac.Equal(v.proof(k.key, ns, client, r), r.Proof)
	})
}

// Renewal is what a newer token changes on the open streams of its client. It
// travels as a signal, since they may be on any instance; one that gets lost costs
// the stream, which then ends as it would have.
type Renewal struct {
	Expires time.Time `json:"expires"`
	Rooms   []string  `json:"rooms"`
	// Algorithm and Proof are of the token, see proof.
	Algorithm string `json:"algorithm"`
	Proof     []byte `json:"proof"`
}

// Renewal is what the token of a caller changes on the open streams of its client.
// Errors: *wire.Problem where the caller has no token that could be renewed.
func (a *Authority) Renewal(ns event.Namespace, who *Identity) (Renewal, error) {
	if who.Backend {
		return Renewal{}, wire.Refuse(wire.Forbidden, "", "an API key does not expire: only a token can be renewed")
	}
	if a.own != nil {
		return Renewal{}, wire.Refuse(wire.Forbidden, "", "there are no tokens to renew: streams end with the session of the application, and go on in the next one")
	}
	r := Renewal{Expires: who.Expires, Rooms: who.Rooms, Algorithm: who.verified.algorithm}
	r.Proof = a.tokens.proof(who.verified.key, ns, who.Client, &r)
	return r, nil
}

// Renewed is who with the life and the rooms of a newer token, and whether the renewal is by a
// key that this instance trusts.
func (a *Authority) Renewed(ns event.Namespace, who Identity, r *Renewal) (Identity, bool) {
	if who.Backend || !a.tokens.proves(ns, who.Client, r) {
		return who, false
	}
	who.Expires, who.Rooms = r.Expires, r.Rooms
	return who, true
}
