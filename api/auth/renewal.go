package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// Instances that share a database need not trust the same issuers. So a renewal carries a proof: a MAC of what
// it changes, made with the key that verified its token. An instance that would have refused the token refuses
// the renewal, too. The token itself would prove as much, but then it would be stored, and everybody who reads
// the table or a backup could use it.

// proof returns that MAC. It covers audience and issuer: a token that is good for one instance need not be good
// for another one that has the same key.
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

// proves reports whether the token of a renewal was verified with a key that this instance trusts.
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

// Renewal is what a newer token changes on the open streams of its client. It is sent as a volatile event,
// since the streams may be on any instance. If it is lost, the stream ends when its own token expires.
type Renewal struct {
	Expires time.Time `json:"expires"`
	Rooms   []string  `json:"rooms"`
	// Algorithm and Proof belong to the token; see proof.
	Algorithm string `json:"algorithm"`
	Proof     []byte `json:"proof"`
}

// Renewal returns what the caller's token changes on the open streams of its client.
// Errors: *wire.Problem if the caller has no token that could be renewed.
func (a *Authority) Renewal(ns event.Namespace, who *Identity) (Renewal, error) {
	if who.Backend {
		return Renewal{}, wire.Refuse(wire.Forbidden, "", "an API key does not expire: only a token can be renewed")
	}
	if a.own != nil {
		return Renewal{}, wire.Refuse(wire.Forbidden, "", "the application authenticates requests, so there are no tokens to renew: when a stream ends, connect again")
	}
	r := Renewal{Expires: who.Expires, Rooms: who.Rooms, Algorithm: who.verified.algorithm}
	r.Proof = a.tokens.proof(who.verified.key, ns, who.Client, &r)
	return r, nil
}

// Renewed returns who with the expiry and the rooms of a newer token. It reports false, and who unchanged, if
// this instance does not trust the key that verified that token.
func (a *Authority) Renewed(ns event.Namespace, who Identity, r *Renewal) (Identity, bool) {
	if who.Backend || !a.tokens.proves(ns, who.Client, r) {
		return who, false
	}
	who.Expires, who.Rooms = r.Expires, r.Rooms
	return who, true
}
