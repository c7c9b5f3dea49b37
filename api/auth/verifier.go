package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// verifier checks tokens and says whose they are.
type verifier struct {
	parser *jwt.Parser
	leeway time.Duration // for nbf and iat
	local  []trusted
	rules  string     // audience and issuer that tokens must name
	remote *keyServer // nil without a JWKS URL
}

// newVerifier returns nil if no key for tokens is configured. A JWKS URL starts a goroutine, which close ends.
func newVerifier(o Options) (*verifier, error) {
	if !o.TakesTokens() {
		return nil, nil
	}
	local, err := o.localKeys()
	if err != nil {
		return nil, err
	}
	rules := []jwt.ParserOption{
		jwt.WithValidMethods(o.pinned()), jwt.WithStrictDecoding(),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(o.Leeway),
	}
	if len(o.Audience) > 0 {
		rules = append(rules, jwt.WithAudience(o.Audience...))
	}
	if o.Issuer != "" {
		rules = append(rules, jwt.WithIssuer(o.Issuer))
	}
	v := &verifier{parser: jwt.NewParser(rules...), leeway: o.Leeway, local: local, rules: fmt.Sprintf("%q %q", o.Audience, o.Issuer)}
	if o.JWKSURL != "" {
		v.remote = openKeyServer(o.JWKSURL, o.pinned(), o.Logger)
	}
	return v, nil
}

func (v *verifier) close() {
	if v != nil && v.remote != nil {
		v.remote.close()
	}
}

// notOurs is all that the sender of a token without a good signature is told.
const notOurs = "the credentials are neither a key nor a token of this server"

// Reasons for refusing tokens whose signature is good: they help the owner, and cannot help a forger.
const (
	hasExpired = "the token has expired"
	wasRevoked = "the token was revoked"
	neverValid = `the token is never valid: its "exp" is not after its "nbf" and "iat"`
	notForUs   = `the token must have "exp" and be made for this server: look at "aud" and "iss"`
)

// identify checks a token. The signature is checked first: nothing is said about a token whose signature is
// bad.
func (v *verifier) identify(ctx context.Context, token string) (Identity, error) {
	if !strictHeader(token) {
		return Identity{}, badToken(notOurs)
	}
	var c readClaims
	var set []jwt.VerificationKey
	parsed, err := v.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (_ any, err error) {
		set, err = v.keys(ctx, t)
		return jwt.VerificationKeySet{Keys: set}, err
	})
	switch {
	case c.fault != nil && (err == nil || errors.Is(err, jwt.ErrTokenInvalidClaims)):
		return Identity{}, badToken(c.faultText())
	case err == nil:
	case ctx.Err() != nil:
		return Identity{}, ctx.Err()
	case errors.Is(err, errNoKeysYet):
		return Identity{}, wire.Refuse(wire.KeysUnavailable, "", "the keys that verify tokens could not be fetched yet")
	case !errors.Is(err, jwt.ErrTokenInvalidClaims):
		return Identity{}, badToken(notOurs)
	}
	switch {
	case c.ExpiresAt == nil:
		return Identity{}, badToken(notForUs)
	case !time.Now().Before(c.ExpiresAt.Time): // the parser forgives the leeway here, too
		return Identity{}, badToken(hasExpired)
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing), errors.Is(err, jwt.ErrTokenInvalidAudience), errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return Identity{}, badToken(notForUs)
	case c.neverValid():
		return Identity{}, badToken(neverValid)
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return Identity{}, v.tooEarly(&c.Claims)
	case err != nil:
		return Identity{}, badToken(notForUs)
	}
	who, err := c.identity()
	who.verified = verification{parsed.Method.Alg(), verifiedBy(parsed, set)}
	return who, err
}

// longestEarly bounds the Retry-After of a token that is not valid yet.
const longestEarly = time.Minute

// tooEarly refuses a token that becomes valid later: the issuer's clock is ahead by more than the leeway, or
// the token is meant for later.
func (v *verifier) tooEarly(c *Claims) error {
	p := wire.Refuse(wire.NotYetValid, "", "the token is not valid yet: its \"nbf\" or \"iat\" is in the future")
	for _, at := range []*jwt.NumericDate{c.NotBefore, c.IssuedAt} {
		if at != nil {
			p.After = max(p.After, time.Until(at.Add(-v.leeway)))
		}
	}
	p.After = min(max(p.After, time.Millisecond), longestEarly)
	return p
}

// identity returns the Identity that the claims describe.
func (c *Claims) identity() (Identity, error) {
	client, err := event.ParseClient(c.Subject)
	if err != nil {
		return Identity{}, badToken(`the token's "sub" is not a client name: ` + err.Error())
	}
	if c.Namespaces == nil {
		c.Namespaces = List{"default"}
	}
	who := Identity{
		Client: client, Expires: c.ExpiresAt.Time,
		Namespaces: c.Namespaces, Rooms: c.Rooms, emit: c.Emit,
	}
	if c.IssuedAt != nil {
		who.issued = c.IssuedAt.Time
	}
	return who, nil
}

var errUnverifiable = errors.New("no key fits the token")

// keys finds the keys that a token may be signed with. If the key server has a key of the token's kid, only
// that key counts. If it has none, only the keys configured here count. A token without a kid is tried with all
// keys of its algorithm.
func (v *verifier) keys(ctx context.Context, t *jwt.Token) ([]jwt.VerificationKey, error) {
	if _, critical := t.Header["crit"]; critical {
		return nil, errUnverifiable // RFC 7515, 4.1.11: refuse critical headers that are not understood
	}
	var kid string
	if given, ok := t.Header["kid"]; ok {
		if kid, ok = given.(string); !ok {
			return nil, errUnverifiable
		}
	}
	algorithm := t.Method.Alg()
	set := keysFor(nil, v.local, algorithm)
	if v.remote != nil && v.remote.verifies(algorithm) {
		found, named, err := v.remote.find(ctx, kid)
		switch {
		case err != nil && len(set) == 0:
			return nil, err
		case named:
			set = keysFor(nil, found, algorithm)
		default:
			set = keysFor(set, found, algorithm)
		}
	}
	if len(set) == 0 {
		return nil, errUnverifiable
	}
	return set, nil
}

// verifiedBy returns the key of the set that verified the parsed token.
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
