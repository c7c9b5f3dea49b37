package api

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/api/internal/apitest"
)

// everyKind configures all kinds of keys at once.
func everyKind(url string) func(*Options) {
	return func(o *Options) {
		o.JWTPublicKey = apitest.PublicKeys(apitest.Ring())
		o.JWKSURL = url
		o.JWTAudience, o.JWTIssuer = []string{"culvert", "second"}, "https://issuer"
	}
}

// ours are the claims that everyKind requires.
var ours = jwt.MapClaims{"aud": "culvert", "iss": "https://issuer"}

func with(claims jwt.MapClaims) jwt.MapClaims {
	all := jwt.MapClaims{"aud": "culvert", "iss": "https://issuer"}
	for k, v := range claims {
		all[k] = v
	}
	return all
}

func TestTokensOfEveryKind(t *testing.T) {
	remote := map[string]apitest.Signer{}
	for alg, s := range apitest.Stranger() {
		remote[alg] = s.Named("remote " + alg)
	}
	i := apitest.NewIssuer(t, remote["RS256"], remote["ES256"], remote["EdDSA"])
	s := siteOf(t, inMemory(&memory{}), everyKind(i.Server.URL))
	good := map[string]string{
		"HS256":             apitest.HS(jwt.SigningMethodHS256, testSecret).Sign(t, ours),
		"HS384":             apitest.HS(jwt.SigningMethodHS384, testSecret).Sign(t, ours),
		"HS512":             apitest.HS(jwt.SigningMethodHS512, testSecret).Sign(t, ours),
		"second audience":   apitest.HS(jwt.SigningMethodHS256, testSecret).Sign(t, with(jwt.MapClaims{"aud": []string{"x", "second"}})),
		"kid of its own":    apitest.HS(jwt.SigningMethodHS256, testSecret).Named("any").Sign(t, ours),
		"public, other kid": apitest.Ring()["ES256"].Named("nobody's").Sign(t, ours),
	}
	for alg, k := range apitest.Ring() {
		good["public "+alg] = k.Sign(t, ours)
	}
	for alg, k := range remote {
		good["remote "+alg] = k.Sign(t, ours)
		good["remote without kid "+alg] = k.Named("").Sign(t, ours)
	}
	for name, token := range good {
		if r := s.get("/v1/default/events?wait=0", bearerOf(token)); r.status != http.StatusOK {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

// bad are tokens that a server of everyKind, whose issuer publishes the key "remote", must refuse. detail is
// the text of the answer: one other than notOursText is only for tokens with a good signature.
func bad(t testing.TB, remote apitest.Signer) map[string]struct{ token, detail string } {
	t.Helper()
	const expired, neverValid, claims, sub = "the token has expired", `the token is never valid: its "exp" is not after its "nbf" and "iat"`,
		`the token must have "exp" and be made for this server: look at "aud" and "iss"`, `the token's "sub" is not a client name: client `
	hour := time.Now().Add(time.Hour).Unix()
	// The server's leeway is so long that for the parser this nbf has passed.
	soon := time.Now().Add(50 * time.Second).Unix()
	secret := apitest.HS(jwt.SigningMethodHS256, testSecret)
	rsa := apitest.Ring()["RS256"]
	all := map[string]struct{ token, detail string }{
		"none":               {apitest.NewSigner(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "").Sign(t, ours), notOursText},
		"none, remote kid":   {apitest.NewSigner(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, remote.KID).Sign(t, ours), notOursText},
		"other secret":       {apitest.HS(jwt.SigningMethodHS256, []byte("another secret of thirty-two bytes")).Sign(t, ours), notOursText},
		"empty secret":       {apitest.HS(jwt.SigningMethodHS256, []byte{}).Sign(t, ours), notOursText},
		"HS, PEM as secret":  {apitest.HS(jwt.SigningMethodHS256, rsa.Public()).Sign(t, ours), notOursText},
		"HS, all PEMs":       {apitest.HS(jwt.SigningMethodHS256, apitest.PublicKeys(apitest.Ring())).Sign(t, ours), notOursText},
		"HS, remote kid":     {apitest.HS(jwt.SigningMethodHS256, remote.Public()).Named(remote.KID).Sign(t, ours), notOursText},
		"RS, remote EC kid":  {rsa.Named(remote.KID).Sign(t, ours), notOursText},
		"EC, remote kid":     {apitest.Ring()["ES256"].Named(remote.KID).Sign(t, ours), notOursText},
		"remote, other kid":  {remote.Named("unknown").Sign(t, ours), notOursText},
		"kid is a number":    {remote.Sign(t, ours, map[string]any{"kid": 7}), notOursText},
		"critical extension": {secret.Sign(t, ours, map[string]any{"crit": []string{"b64"}, "b64": true}), notOursText},
		"RS384":              {apitest.NewSigner(jwt.SigningMethodRS384, rsa.Key, "").Sign(t, ours), notOursText},
		"PS256":              {apitest.NewSigner(jwt.SigningMethodPS256, rsa.Key, "").Sign(t, ours), notOursText},
		"expired":            {secret.Sign(t, with(jwt.MapClaims{"exp": time.Now().Add(-time.Second).Unix()})), expired},
		"other audience":     {secret.Sign(t, with(jwt.MapClaims{"aud": "others"})), claims},
		"no audience":        {secret.Sign(t, with(jwt.MapClaims{"aud": nil})), claims},
		"other issuer":       {secret.Sign(t, with(jwt.MapClaims{"iss": "https://issuer.evil"})), claims},
		"no issuer":          {secret.Sign(t, with(jwt.MapClaims{"iss": nil})), claims},
		"no exp":             {secret.Sign(t, with(jwt.MapClaims{"exp": nil})), claims},
		"no sub":             {secret.Sign(t, with(jwt.MapClaims{"sub": nil})), sub + "must not be empty"},
		"bad sub":            {secret.Sign(t, with(jwt.MapClaims{"sub": "a\nb"})), sub + "has the control character U+000A"},
		"sub is me":          {secret.Sign(t, with(jwt.MapClaims{"sub": "me"})), sub + `must not be "me", which stands for the caller in addresses`},
		"sub is a dot":       {secret.Sign(t, with(jwt.MapClaims{"sub": "."})), sub + `must not be ".": it is a step in a URL's path, not a name`},
		"sub is two dots":    {secret.Sign(t, with(jwt.MapClaims{"sub": ".."})), sub + `must not be "..": it is a step in a URL's path, not a name`},
		"sub no string":      {secret.Sign(t, with(jwt.MapClaims{"sub": 7})), "the token's claims are not accepted: sub must be a string"},
		"exp no number":      {secret.Sign(t, with(jwt.MapClaims{"exp": "tomorrow"})), `the token's claims are not accepted: "exp" must be a number of seconds since 1970`},
		"expired and forged": {apitest.HS(jwt.SigningMethodHS256, []byte("x")).Sign(t, with(jwt.MapClaims{"exp": 1})), notOursText},
		"early and others'":  {secret.Sign(t, with(jwt.MapClaims{"nbf": hour, "aud": "others"})), claims},
		"early and expired":  {secret.Sign(t, with(jwt.MapClaims{"nbf": hour, "exp": 1})), expired},
		// exp has no leeway.
		"early, just expired":     {secret.Sign(t, with(jwt.MapClaims{"nbf": hour, "exp": time.Now().Add(-2 * time.Second).Unix()})), expired},
		"early by iat, expired":   {secret.Sign(t, with(jwt.MapClaims{"iat": hour, "exp": time.Now().Add(-2 * time.Second).Unix()})), expired},
		"exp before nbf":          {secret.Sign(t, with(jwt.MapClaims{"nbf": hour, "exp": hour - 1})), neverValid},
		"exp before iat":          {secret.Sign(t, with(jwt.MapClaims{"iat": hour, "exp": hour - 1})), neverValid},
		"exp is nbf":              {secret.Sign(t, with(jwt.MapClaims{"nbf": hour, "exp": hour})), neverValid},
		"exp long before nbf":     {secret.Sign(t, with(jwt.MapClaims{"nbf": hour + 1e9, "exp": hour})), neverValid},
		"nbf in the leeway":       {secret.Sign(t, with(jwt.MapClaims{"nbf": soon + 1, "exp": soon})), neverValid},
		"exp before nbf, others'": {secret.Sign(t, with(jwt.MapClaims{"nbf": hour, "exp": hour - 1, "aud": "others"})), claims},
	}
	for alg, k := range apitest.Stranger() {
		all["stranger's "+alg] = struct{ token, detail string }{k.Sign(t, ours), notOursText}
		all["stranger's "+alg+", remote kid"] = struct{ token, detail string }{k.Named(remote.KID).Sign(t, ours), notOursText}
	}
	parts := strings.Split(secret.Sign(t, ours), ".")
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"bob","exp":99999999999,"aud":"culvert","iss":"https://issuer"}`))
	all["tampered"] = struct{ token, detail string }{strings.Join(parts, "."), notOursText}
	return all
}

// TestBadTokens sends each of these tokens to every route.
func TestBadTokens(t *testing.T) {
	remote := apitest.NewSigner(jwt.SigningMethodES256, apitest.NewKey(jwt.SigningMethodES256), "remote")
	s := siteOf(t, inMemory(&memory{}), everyKind(apitest.NewIssuer(t, remote).Server.URL), func(o *Options) { o.MaxWait, o.JWTLeeway = 1, time.Minute })
	s.get("/v1/default/events?wait=0", bearerOf(remote.Sign(t, ours))).is(200)
	var routes []string
	for _, r := range s.h.echo.Routes() {
		if strings.HasPrefix(r.Path, "/v1/") {
			path := strings.NewReplacer(":ns", "default", ":room", "r", ":client", "alice").Replace(r.Path)
			if strings.Contains(path, ":") {
				t.Fatalf("this test has no value for %s", path)
			}
			routes = append(routes, r.Method+" "+path)
		}
	}
	for name, c := range bad(t, remote) {
		want := fmt.Sprintf(`{"type":"/problems/unauthorized","title":"Missing or bad credentials","status":401,"detail":%s}`, apitest.JSONText(c.detail))
		for _, route := range routes {
			method, path, _ := strings.Cut(route, " ")
			for where, r := range map[string]result{
				"header": s.call(method, path, "", bearerOf(c.token)),
				"query":  s.call(method, path+"?access_token="+c.token, "", header("Authorization", "")),
			} {
				if r.status != 401 || r.body != want || r.header.Get("WWW-Authenticate") != "Bearer" {
					t.Errorf("%s, %s in the %s: %d %s", name, route, where, r.status, r.body)
				}
			}
		}
	}
}

// TestAlgorithmsArePinned: an algorithm that JWTAlgorithms leaves out is refused even if there is a key for it.
func TestAlgorithmsArePinned(t *testing.T) {
	remote := apitest.Ring()["EdDSA"].Named("remote")
	s := siteOf(t, inMemory(&memory{}), func(o *Options) {
		o.JWTPublicKey, o.JWTAlgorithms = apitest.Ring()["ES256"].Public(), []string{"HS512", "ES256"}
		o.JWKSURL = apitest.NewIssuer(t, remote).Server.URL
	})
	for name, c := range map[string]struct {
		token  string
		status int
	}{
		"HS512":        {apitest.HS(jwt.SigningMethodHS512, testSecret).Sign(t, nil), 200},
		"ES256":        {apitest.Ring()["ES256"].Sign(t, nil), 200},
		"HS256":        {apitest.HS(jwt.SigningMethodHS256, testSecret).Sign(t, nil), 401},
		"remote EdDSA": {remote.Sign(t, nil), 401},
	} {
		if r := s.get("/v1/default/events?wait=0", bearerOf(c.token)); r.status != c.status {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

func TestLeeway(t *testing.T) {
	for _, c := range []struct {
		leeway, ahead time.Duration
		status        int
	}{
		{0, 3 * time.Second, 200}, {0, 20 * time.Second, 401},
		{30 * time.Second, 20 * time.Second, 200}, {30 * time.Second, 40 * time.Second, 401},
		{-1, 3 * time.Second, 401},
	} {
		s := siteOf(t, inMemory(&memory{}), func(o *Options) { o.JWTLeeway = c.leeway })
		for _, claim := range []string{"nbf", "iat"} {
			token := apitest.HS(jwt.SigningMethodHS256, testSecret).Sign(t, jwt.MapClaims{claim: time.Now().Add(c.ahead).Unix()})
			if r := s.get("/v1/default/events?wait=0", bearerOf(token)); r.status != c.status {
				t.Errorf("%s ahead by %v, leeway %v: %d %s", claim, c.ahead, c.leeway, r.status, r.body)
			}
		}
		token := apitest.HS(jwt.SigningMethodHS256, testSecret).Sign(t, jwt.MapClaims{"exp": time.Now().Add(-time.Second).Unix()})
		s.get("/v1/default/events?wait=0", bearerOf(token)).problem(401, "unauthorized", "")
	}
}

// TestATokenThatIsNotValidYetIsTemporary: if an issuer's clock is ahead, clients must not give up for good.
func TestATokenThatIsNotValidYetIsTemporary(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}))
	for _, c := range []struct {
		claims      jwt.MapClaims
		least, most int
	}{
		{jwt.MapClaims{"iat": time.Now().Add(15 * time.Second).Unix()}, 6, 10},
		{jwt.MapClaims{"nbf": time.Now().Add(25 * time.Second).Unix(), "iat": time.Now().Add(15 * time.Second).Unix()}, 16, 20},
		{jwt.MapClaims{"nbf": time.Now().Add(time.Hour).Unix(), "exp": time.Now().Add(2 * time.Hour).Unix()}, 60, 60},
	} {
		r := s.get("/v1/default/events?wait=0", bearerOf(apitest.HS(jwt.SigningMethodHS256, testSecret).Sign(t, c.claims))).
			problem(401, "token-not-yet-valid", "")
		after, err := strconv.Atoi(r.header.Get("Retry-After"))
		if err != nil || after < c.least || after > c.most || !strings.Contains(r.body, "not valid yet") {
			t.Errorf("%v: Retry-After %q of %d to %d, %s", c.claims, r.header.Get("Retry-After"), c.least, c.most, r.body)
		}
	}
	// Retry-After says when the token becomes valid.
	ahead := time.Now().Add(6500 * time.Millisecond).Unix() // valid in half a second to one and a half
	token := apitest.HS(jwt.SigningMethodHS256, testSecret).Sign(t, jwt.MapClaims{"iat": ahead})
	s.get("/v1/default/events?wait=0", bearerOf(token)).problem(401, "token-not-yet-valid", "")
	apitest.Until(t, func() bool {
		if time.Now().Unix() < ahead-5 {
			return false
		}
		s.get("/v1/default/events?wait=0", bearerOf(token)).is(200)
		return true
	})
}

func TestTokenOptions(t *testing.T) {
	rsa := apitest.Ring()["RS256"].Public()
	small := bytes.Replace(rsa, []byte("PUBLIC KEY"), []byte("RSA PRIVATE KEY"), 2)
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"no PEM":           {Options{JWTPublicKey: []byte("x")}, "is not PEM"},
		"only blanks":      {Options{JWTPublicKey: []byte(" \n")}, "is empty"},
		"private":          {Options{JWTPublicKey: small}, "is a private key"},
		"half a block":     {Options{JWTPublicKey: append(rsa, rsa[:40]...)}, "is not PEM"},
		"other block":      {Options{JWTPublicKey: bytes.ReplaceAll(rsa, []byte("PUBLIC KEY"), []byte("DH PARAMETERS"))}, `type "DH PARAMETERS"`},
		"damaged":          {Options{JWTPublicKey: []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")}, "cannot be read"},
		"P-384":            {Options{JWTPublicKey: []byte(p384)}, "ECDSA key on P-384"},
		"wrong type":       {Options{JWTPublicKey: rsa, JWTAlgorithms: []string{"ES256"}}, "an RSA key of 2048 bits verifies RS256, which is not among the JWT algorithms: they are ES256"},
		"secret left out":  {Options{JWTSecret: testSecret, JWTPublicKey: rsa, JWTAlgorithms: []string{"RS256"}}, "the JWT secret verifies HS256, HS384, HS512"},
		"unknown":          {Options{JWTSecret: testSecret, JWTAlgorithms: []string{"none"}}, `"none" is not supported: choose from HS256`},
		"nobody":           {Options{JWTSecret: testSecret, JWTAlgorithms: []string{"HS256", "ES256"}}, "ES256 has no key"},
		"HS by URL":        {Options{JWKSURL: "https://i/keys", JWTAlgorithms: []string{"HS256", "ES256"}}, "HS256 has no key"},
		"http":             {Options{JWKSURL: "http://issuer.example/keys"}, "https://"},
		"http, look-alike": {Options{JWKSURL: "http://127.0.0.1.evil.example/"}, "https://"},
		"credentials":      {Options{JWKSURL: "https://u:p@issuer.example/keys"}, "https://"},
		"no host":          {Options{JWKSURL: "https:///keys"}, "https://"},
		"file":             {Options{JWKSURL: "file:///etc/keys"}, "https://"},
		"leeway":           {Options{JWTSecret: testSecret, JWTLeeway: 2 * time.Minute}, "leeway"},
		"empty audience":   {Options{JWTSecret: testSecret, JWTAudience: []string{""}}, "audience"},
	} {
		if _, err := newHandler(owners{}, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for _, u := range []string{"https://issuer.example/keys?v=1", "http://localhost:1/", "http://127.0.0.2/", "http://[::1]:80/keys"} {
		if err := (Options{JWKSURL: u}).CheckTokens(); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
}

const p384 = `-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE54UDwvbmK4XjZceirp5VdgENnrroeS8K
mPqwZkdINf73hgAtnEQtv0bZft8Us8BKHOH393y8fHa6IPdVBHLnSAxenczvjCMd
Cf1q4woanwiFnSSj3JNl5SQov6kkbvOk
-----END PUBLIC KEY-----
`

// notOursText is all that the sender of a token without a good signature is told.
const notOursText = "the credentials are neither a key nor a token of this server"
