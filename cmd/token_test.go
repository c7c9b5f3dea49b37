package cmd

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/cmd/config"
)

// testToken: a token signed with the generated secret opens exactly what it says.
func testToken(t *testing.T, s *program, data string) {
	token := strings.TrimSpace(must(t, "", nil, "token", "--data", data, "--sub=carol", "--rooms=tok*", "--emit=tok1", "--ttl=5m"))
	env := []string{"CULVERT_URL=" + s.url, "CULVERT_TOKEN_FILE=" + write(t, token+"\n")}
	must(t, "", env, "emit", "--room=tok1", "--event=mine")
	if out := must(t, "", env, "listen", "--rooms=tok1", "--from-earliest", "--count=1"); !strings.Contains(out, "tok1 mine carol null") {
		t.Errorf("listen prints %s", out)
	}
	for _, args := range [][]string{{"emit", "--room=tok2", "--event=x"}, {"listen", "--rooms=other", "--count=1"}} {
		if code, _, stderr := run(t, "", env, args...); code != exitFailure || !strings.Contains(stderr, "403") {
			t.Errorf("%q exits with %d: %s", args, code, stderr)
		}
	}
	code, stdout, stderr := run(t, "", nil, "token", "--sub=x", "--data", t.TempDir())
	if code != exitFailure || stdout != "" || !strings.Contains(stderr, "--jwt-secret") {
		t.Errorf("without a secret: %d, %s%s", code, stdout, stderr)
	}
}

// TestTokenNamesAudienceAndIssuer: the defaults are those that the server requires.
func TestTokenNamesAudienceAndIssuer(t *testing.T) {
	env := []string{"CULVERT_JWT_SECRET=0123456789abcdef0123456789abcdef", "CULVERT_JWT_AUDIENCE=first,second", "CULVERT_JWT_ISSUER=me"}
	for want, args := range map[string][]string{
		`["first"] me`: nil,
		`["a","b"] i`:  {"--aud=a,b", "--iss=i"},
	} {
		token := must(t, "", env, append([]string{"token", "--sub=x"}, args...)...)
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
		var c struct {
			Aud json.RawMessage
			Iss string
		}
		if err := errors.Join(err, json.Unmarshal(payload, &c)); err != nil {
			t.Fatal(err)
		}
		if got := string(c.Aud) + " " + c.Iss; got != want {
			t.Errorf("%q gives %s, want %s", args, got, want)
		}
	}
	env = append(env, "CULVERT_CONFIG="+write(t, "jwt-algorithms: HS512\n"))
	if code, stdout, stderr := run(t, "", env, "token", "--sub=x"); code != exitFailure || stdout != "" || !strings.Contains(stderr, "HS256") {
		t.Errorf("without HS256: %d, %s%s", code, stdout, stderr)
	}
}

// TestServeTrustsAKeyServer: goleak in TestMain fails unless its goroutine ends.
func TestServeTrustsAKeyServer(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	}))
	defer keys.Close()
	s := serve(t, dataFolder(t), "--jwt-jwks-url="+keys.URL, "--jwt-audience=me")
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"sub": "x", "exp": 99999999999, "aud": "me", "emit": []string{"*"}})
	token.Header["kid"] = "1"
	text, err := token.SignedString(private)
	if err != nil {
		t.Fatal(err)
	}
	must(t, "", nil, "emit", "--url="+s.url, "--token="+text, "--event=x")
}

// testBadToken: an error that cannot pass ends a command at once.
func testBadToken(t *testing.T, s *program) {
	for _, args := range [][]string{{"listen", "--rooms=x"}, {"listen", "--rooms=x", "--poll"}, {"emit", "--event=x"}} {
		code, _, stderr := run(t, "", nil, append(args, "--token=wrong", "--url", s.url)...)
		if code != exitFailure || !strings.Contains(stderr, "401") || !strings.Contains(stderr, "--token") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q exits with %d: %s", args, code, stderr)
		}
	}
	code, _, stderr := run(t, `{"event":"x"}`+"\n", nil, "emit", "--token=wrong", "--url", s.url)
	if code != exitFailure || !strings.Contains(stderr, "stopped at line 1") || !strings.Contains(stderr, "401") {
		t.Errorf("exits with %d: %s", code, stderr)
	}
}

// TestKeyStaysHere: the key that a local server made is not sent to another machine.
func TestKeyStaysHere(t *testing.T) {
	data := t.TempDir()
	const key = "ck_0123456789012345678901234567890123456789"
	if err := os.WriteFile(filepath.Join(data, config.APIKeyFile), []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{}
	for address, want := range map[string]string{
		"http://127.0.0.1:8080": key, "http://localhost:1": key, "http://[::1]:1": key,
		"http://10.0.0.1:8080": "", "http://example.com": "", "http://localhost.example.com": "",
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.findToken(clientFlags{data: data}, u); err != nil || got != want {
			t.Errorf("%s gets %q, %v", address, got, err)
		}
	}
}
