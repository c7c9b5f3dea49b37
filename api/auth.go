package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/culvertmq/culvert/event"
)

// authority knows whom to trust.
type authority struct {
	// own is the application's authentication, which then decides alone.
	own    func(*http.Request) (Caller, error)
	keys   [][sha256.Size]byte // digests: comparing them tells nothing of a key's length
	tokens *verifier           // nil: none are accepted
	stored keys
}

// newAuthority takes options that check has no error for. It begins to fetch the keys of a JWKS URL, which close ends.
func newAuthority(o authOptions, stored keys) (*authority, error) {
	a := &authority{own: o.Authenticate, stored: stored}
	for _, k := range o.APIKeys {
		a.keys = append(a.keys, sha256.Sum256([]byte(k)))
	}
	var err error
	if a.tokens, err = newVerifier(o); err != nil {
		return nil, err
	}
	return a, nil
}

// close returns when nothing is fetched any more. Known keys go on working.
func (a *authority) close() { a.tokens.close() }

// identify finds who sent the request. The header wins over ?access_token, also
// when it is wrong.
func (a *authority) identify(r *http.Request, query url.Values) (identity, error) {
	if a.own != nil {
		return authenticate(a.own, r)
	}
	token := query.Get("access_token")
	if len(r.Header["Authorization"]) > 1 {
		return identity{}, refuse(unauthorized, "", "duplicate Authorization header")
	}
	if header := r.Header.Get("Authorization"); header != "" {
		var ok bool
		if token, ok = bearer(header); !ok {
			return identity{}, refuse(unauthorized, "", "the Authorization header is not of the form Bearer T")
		}
	}
	if token == "" {
		return identity{}, refuse(unauthorized, "", "send Authorization: Bearer T, or ?access_token=T")
	}
	if a.isKey(token) {
		return identity{backend: true, key: keyOf(token)}, nil
	}
	if who, ok := storedKey(a.stored, token); ok {
		who.key = keyOf(token)
		return who, nil
	}
	if a.tokens == nil {
		return identity{}, badToken(notOurs)
	}
	return a.tokens.identify(r.Context(), token)
}

func badToken(detail string) error { return refuse(unauthorized, "", detail) }

// isKey takes the same time whichever key it is, and when it is none.
func (a *authority) isKey(token string) bool {
	digest := sha256.Sum256([]byte(token))
	found := 0
	for i := range a.keys {
		found |= subtle.ConstantTimeCompare(a.keys[i][:], digest[:])
	}
	return found == 1
}

// bearer takes T out of "Bearer T"; the scheme's case is free (RFC 9110, 11.1).
func bearer(header string) (string, bool) {
	scheme, token, ok := strings.Cut(header, " ")
	token = strings.Trim(token, " \t")
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != ""
}

// check refuses who has lost the right to use the namespace since they were identified: it has
// expired, or was revoked.
func (a *authority) check(ns event.Namespace, who *identity) error {
	switch {
	case !who.expires.IsZero() && !time.Now().Before(who.expires):
		return badToken(hasExpired)
	case !a.holds(ns, who):
		return badToken(wasRevoked)
	}
	return nil
}

// holds reports whether credentials are still good, beside their expiry:
// a stored key that was neither revoked nor rotated, a client that was not revoked
// since its token was issued.
func (a *authority) holds(ns event.Namespace, who *identity) bool {
	switch {
	case who.grant != nil:
		return a.stored.Holds(*who.grant)
	case who.backend:
		return true
	}
	at := a.stored.RevokedAt(ns, who.client)
	return at.IsZero() || who.issued.After(at)
}
