package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue/registry"
)

// Keys are the credentials that the database knows.
type Keys interface {
	Grant(token string) (registry.Grant, bool)
	Holds(g registry.Grant) bool
	RevokedAt(ns event.Namespace, c event.Client) time.Time
}

// Authority decides which credentials are trusted. Any goroutine may use it.
type Authority struct {
	// own is the application's authentication. When it is set, it alone decides.
	own    func(*http.Request) (Caller, error)
	keys   [][sha256.Size]byte // digests: the time to compare them does not depend on a key's length
	tokens *verifier           // nil: none are accepted
	stored Keys
}

// New makes an Authority from options that Check, CheckTokens and CheckSecrets accept. If they have a JWKS URL,
// New starts to fetch its keys and does not wait for them; Close ends the fetching. Many goroutines call
// stored.
func New(o Options, stored Keys) (*Authority, error) {
	a := &Authority{own: o.Authenticate, stored: stored}
	for _, k := range o.APIKeys {
		a.keys = append(a.keys, sha256.Sum256([]byte(k)))
	}
	var err error
	if a.tokens, err = newVerifier(o); err != nil {
		return nil, err
	}
	return a, nil
}

// Close ends the fetching of keys and waits until it has ended. The keys fetched before stay in use.
func (a *Authority) Close() { a.tokens.close() }

// Identify finds who sent the request; query is its parsed query string. An Authorization header wins over
// ?access_token, even when the header is wrong. Identify may wait for the keys of an issuer, but not longer
// than the request's context lasts.
// Errors: *wire.Problem for bad credentials; any other error is internal.
func (a *Authority) Identify(r *http.Request, query url.Values) (Identity, error) {
	if a.own != nil {
		return authenticate(a.own, r)
	}
	token := query.Get("access_token")
	if len(r.Header["Authorization"]) > 1 {
		return Identity{}, wire.Refuse(wire.Unauthorized, "", "duplicate Authorization header")
	}
	if header := r.Header.Get("Authorization"); header != "" {
		var ok bool
		if token, ok = bearer(header); !ok {
			return Identity{}, wire.Refuse(wire.Unauthorized, "", "the Authorization header is not of the form Bearer T")
		}
	}
	if token == "" {
		return Identity{}, wire.Refuse(wire.Unauthorized, "", "send Authorization: Bearer T, or ?access_token=T")
	}
	if a.isKey(token) {
		return Identity{Backend: true, Key: KeyOf(token)}, nil
	}
	if who, ok := storedKey(a.stored, token); ok {
		who.Key = KeyOf(token)
		return who, nil
	}
	if a.tokens == nil {
		return Identity{}, badToken(notOurs)
	}
	return a.tokens.identify(r.Context(), token)
}

// isKey takes the same time for every token, whether it is a key or not.
func (a *Authority) isKey(token string) bool {
	digest := sha256.Sum256([]byte(token))
	found := 0
	for i := range a.keys {
		found |= subtle.ConstantTimeCompare(a.keys[i][:], digest[:])
	}
	return found == 1
}

// storedKey finds the backend whose key is stored in the database.
func storedKey(from Keys, token string) (Identity, bool) {
	g, ok := from.Grant(token)
	if !ok {
		return Identity{}, false
	}
	who := Identity{Backend: true, Grant: &g, Expires: g.Until}
	for _, ns := range g.Namespaces {
		who.Namespaces = append(who.Namespaces, ns.String())
	}
	return who, true
}

// bearer returns T of "Bearer T"; "Bearer" may be in any case (RFC 9110, 11.1).
func bearer(header string) (string, bool) {
	scheme, token, ok := strings.Cut(header, " ")
	token = strings.Trim(token, " \t")
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != ""
}

// Check returns an error if the caller has lost the right to use the namespace since Identify: the credentials
// have expired or were revoked. Errors: *wire.Problem.
func (a *Authority) Check(ns event.Namespace, who *Identity) error {
	switch {
	case !who.Expires.IsZero() && !time.Now().Before(who.Expires):
		return badToken(hasExpired)
	case !a.Holds(ns, who):
		return badToken(wasRevoked)
	}
	return nil
}

// Holds reports whether credentials are still good; it does not look at their expiry. A stored key must be
// neither revoked nor rotated; a client must not have been revoked since its token was issued.
func (a *Authority) Holds(ns event.Namespace, who *Identity) bool {
	switch {
	case who.Grant != nil:
		return a.stored.Holds(*who.Grant)
	case who.Backend:
		return true
	}
	at := a.stored.RevokedAt(ns, who.Client)
	return at.IsZero() || who.issued.After(at)
}
