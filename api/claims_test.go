package api

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/api/auth"
)

// rawToken signs this header and these claims, byte by byte.
func rawToken(t testing.TB, header, claims string) string {
	t.Helper()
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	signature, err := jwt.SigningMethodHS256.Sign(signed, testSecret)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

const plainHeader = `{"alg":"HS256","typ":"JWT"}`

// Names of claims are exact and unique, and all text is Unicode: whoever makes a token and whoever reads it
// must understand the same.
func TestClaimsAreReadStrictly(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}))
	now := time.Now().Unix()
	past, future := fmt.Sprint(now-60), fmt.Sprint(now+3600)
	const detail = "the token's claims are not accepted"
	for name, c := range map[string]struct{ claims, want string }{
		"EXP after an expired exp":   {`{"sub":"a","exp":` + past + `,"EXP":` + future + `}`, "the token has expired"},
		"only EXP":                   {`{"sub":"a","EXP":` + future + `}`, "must have"},
		"SUB":                        {`{"SUB":"a","exp":` + future + `}`, "not a client name"},
		"exp twice":                  {`{"sub":"a","exp":` + past + `,"exp":` + future + `}`, `duplicate field "exp"`},
		"exp twice, once escaped":    {`{"sub":"a","exp":` + past + `,"\u0065xp":` + future + `}`, `duplicate field "exp"`},
		"ns twice":                   {`{"sub":"a","exp":` + future + `,"ns":"x","ns":"default"}`, `duplicate field "ns"`},
		"sub twice":                  {`{"sub":"a","sub":"b","exp":` + future + `}`, `duplicate field "sub"`},
		"a claim of others twice":    {`{"sub":"a","exp":` + future + `,"x":1,"x":2}`, `duplicate field "x"`},
		"sub is no UTF-8":            {"{\"sub\":\"a\xff\",\"exp\":" + future + "}", detail},
		"sub has half a pair":        {`{"sub":"a\ud800","exp":` + future + `}`, detail},
		"sub has the other half":     {`{"sub":"a\udc00","exp":` + future + `}`, detail},
		"rooms have half a pair":     {`{"sub":"a","exp":` + future + `,"rooms":["\ud800"]}`, detail},
		"exp is a string":            {`{"sub":"a","exp":"` + future + `"}`, `"exp" must be a number`},
		"nbf is a string":            {`{"sub":"a","exp":` + future + `,"nbf":"` + past + `"}`, `"nbf" must be a number`},
		"iat is a string":            {`{"sub":"a","exp":` + future + `,"iat":"` + past + `"}`, `"iat" must be a number`},
		"exp is true":                {`{"sub":"a","exp":true}`, `"exp" must be a number`},
		"exp in milliseconds":        {`{"sub":"a","exp":` + future + `000}`, "year 9999"},
		"exp beyond all numbers":     {`{"sub":"a","exp":1e400}`, `"exp" must be a number`},
		"ns is a number":             {`{"sub":"a","exp":` + future + `,"ns":1}`, `"ns" must be a string or an array`},
		"rooms have a number":        {`{"sub":"a","exp":` + future + `,"rooms":["a",1]}`, "rooms must be a string"},
		"claims are an array":        {`[]`, "not a JSON object"},
		"too many patterns":          {`{"sub":"a","exp":` + future + `,"rooms":["a"` + strings.Repeat(`,"a"`, auth.MaxPatterns) + `]}`, fmt.Sprintf("%d entries, the limit is %d", auth.MaxPatterns+1, auth.MaxPatterns)},
		"a pattern that is too long": {`{"sub":"a","exp":` + future + `,"emit":"` + strings.Repeat("a", auth.MaxPatternLength+1) + `"}`, fmt.Sprintf("entry of %d bytes, the limit is %d", auth.MaxPatternLength+1, auth.MaxPatternLength)},
	} {
		r := s.get("/v1/default/events?wait=0", bearerOf(rawToken(t, plainHeader, c.claims)))
		if r.status != 401 || !strings.Contains(fmt.Sprint(r.json()["detail"]), c.want) {
			t.Errorf("%s: %d %s, want %q", name, r.status, r.body, c.want)
		}
	}
	for name, claims := range map[string]string{
		"fraction":        `{"sub":"a","exp":` + future + `.5}`,
		"null is absent":  `{"sub":"a","exp":` + future + `,"nbf":null,"rooms":null,"ns":null}`,
		"others' claims":  `{"sub":"a","exp":` + future + `,"NS":"x","Exp":1,"x":{"exp":1,"exp":2}}`,
		"a pair":          `{"sub":"\ud83d\ude00","exp":` + future + `}`,
		"most patterns":   `{"sub":"a","exp":` + future + `,"rooms":["a"` + strings.Repeat(`,"a"`, auth.MaxPatterns-1) + `]}`,
		"longest pattern": `{"sub":"a","exp":` + future + `,"emit":["` + strings.Repeat("a", auth.MaxPatternLength) + `"]}`,
	} {
		if r := s.get("/v1/default/events?wait=0", bearerOf(rawToken(t, plainHeader, claims))); r.status != 200 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

// A namespace must be named exactly: no other spelling opens it.
func TestNamespacesOfATokenAreNamedExactly(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}))
	future := fmt.Sprint(time.Now().Unix() + 3600)
	for _, name := range []string{"NS", "Ns", "nſ"} {
		token := rawToken(t, plainHeader, `{"sub":"a","exp":`+future+`,"ns":"mine","`+name+`":"others"}`)
		s.get("/v1/others/events?wait=0", bearerOf(token)).problem(404, "not-found", "")
		s.get("/v1/mine/events?wait=0", bearerOf(token)).is(200)
	}
}

func TestHeadersOfTokensAreReadStrictly(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}))
	claims := `{"sub":"a","exp":` + fmt.Sprint(time.Now().Unix()+3600) + `}`
	for name, header := range map[string]string{
		"alg twice":          `{"alg":"none","alg":"HS256"}`,
		"kid twice":          `{"alg":"HS256","kid":"a","kid":"b"}`,
		"crit hidden":        `{"alg":"HS256","crit":["exp"],"crit":null}`,
		"kid is half a pair": `{"alg":"HS256","kid":"\ud800"}`,
		"kid is no UTF-8":    "{\"alg\":\"HS256\",\"kid\":\"\xff\"}",
		"ALG":                `{"ALG":"HS256"}`,
		"no object":          `"HS256"`,
		"an array":           `[]`,
	} {
		r := s.get("/v1/default/events?wait=0", bearerOf(rawToken(t, header, claims)))
		if r.status != 401 || r.json()["detail"] != notOursText {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	s.get("/v1/default/events?wait=0", bearerOf(rawToken(t, plainHeader, claims))).is(200)
}
