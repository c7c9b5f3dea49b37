package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/culvertmq/culvert/api"
)

// loadWith reads the settings as serve would. The environment has HOME and env only.
func loadWith(t *testing.T, env []string, args ...string) (*Loaded, error) {
	t.Helper()
	environ := append([]string{"HOME=/home/nobody"}, env...)
	var l *Loaded
	var err error
	c := &cobra.Command{Use: "serve", RunE: func(c *cobra.Command, _ []string) error {
		l, err = Load(c.Flags(), environ)
		return nil
	}}
	AddSettings(c)
	c.SetArgs(args)
	if err := c.Execute(); err != nil {
		t.Fatal(err)
	}
	return l, err
}

// write makes a file for one test.
func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	file := write(t, "listen: 127.0.0.1:1\n")
	for name, c := range map[string]struct {
		env, args      []string
		listen, source string
	}{
		"default":                 {nil, nil, "127.0.0.1:8080", "default"},
		"file":                    {nil, []string{"--config", file}, "127.0.0.1:1", "file " + file},
		"file by variable":        {[]string{"CULVERT_CONFIG=" + file}, nil, "127.0.0.1:1", "file " + file},
		"PORT over file":          {[]string{"PORT=2", "CULVERT_CONFIG=" + file}, nil, ":2", "PORT"},
		"variable over PORT":      {[]string{"CULVERT_LISTEN=127.0.0.1:3", "PORT=2"}, nil, "127.0.0.1:3", "CULVERT_LISTEN"},
		"flag over all":           {[]string{"CULVERT_LISTEN=127.0.0.1:3", "PORT=2"}, []string{"--listen=[::1]:4", "--config", file}, "[::1]:4", "flag --listen"},
		"empty variable is unset": {[]string{"CULVERT_LISTEN=", "PORT="}, nil, "127.0.0.1:8080", "default"},
		"empty flag undoes":       {[]string{"CULVERT_LISTEN=127.0.0.1:3"}, []string{"--listen="}, "127.0.0.1:8080", "flag --listen"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := loadWith(t, c.env, c.args...)
			if err != nil {
				t.Fatal(err)
			}
			if l.Listen != c.listen || l.Values["listen"].Source != c.source {
				t.Errorf("listen is %q from %q, want %q from %q", l.Listen, l.Values["listen"].Source, c.listen, c.source)
			}
		})
	}
}

// The documentation names the default number of connections.
func TestConnectionsByDefault(t *testing.T) {
	l, err := loadWith(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if l.MaxConnections != 10 {
		t.Errorf("--max-connections is %d, want 10", l.MaxConnections)
	}
	for page, says := range map[string]string{
		"operations.md": "`--max-connections` (10, at least 5)", "security.md": "| `--max-connections` | 10 |", "embedding.md": "(`--max-connections`): all connections of Culvert, the one that listens included; 10, and 5 at least",
	} {
		text, err := os.ReadFile("../../docs/" + page)
		if err != nil || !strings.Contains(string(text), says) {
			t.Errorf("docs/%s does not say %s: %v", page, says, err)
		}
	}
}

func TestSecretSources(t *testing.T) {
	const url, other = "postgres://from.file/x", "postgres://direct/x"
	file := write(t, url+"\r\n")
	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"DATABASE_URL":               {[]string{"DATABASE_URL=" + other}, other},
		"own variable wins":          {[]string{"DATABASE_URL=" + url, "CULVERT_DATABASE_URL=" + other}, other},
		"DATABASE_URL_FILE":          {[]string{"DATABASE_URL_FILE=" + file}, url},
		"own file wins":              {[]string{"DATABASE_URL=" + other, "CULVERT_DATABASE_URL_FILE=" + file}, url},
		"empty variable beside file": {[]string{"DATABASE_URL=", "DATABASE_URL_FILE=" + file}, url},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := loadWith(t, c.env)
			if err != nil {
				t.Fatal(err)
			}
			if l.DatabaseURL != c.want {
				t.Errorf("database URL is %q, want %q", l.DatabaseURL, c.want)
			}
		})
	}
	keys := write(t, "first,second\nthird\n")
	l, err := loadWith(t, []string{"CULVERT_ALLOW_WEAK_SECRETS=true", "CULVERT_API_KEYS_FILE=" + keys, "CULVERT_JWT_SECRET_FILE=" + write(t, " s p a c e \n")})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"first", "second", "third"}; !slices.Equal(l.APIKeys, want) {
		t.Errorf("keys are %q, want %q", l.APIKeys, want)
	}
	if l.JWTSecret != " s p a c e " {
		t.Errorf("secret is %q: only the line end is not part of it", l.JWTSecret)
	}
}

func TestEverySettingFromFile(t *testing.T) {
	file := write(t, `
listen: "127.0.0.1:9000"
admin-listen: ""
database-url: host=/run dbname=x
data: /tmp/data
migrate: false
api-keys: [a, b]
jwt-secret: s
allow-weak-secrets: true
jwt-public-key: |
  -----BEGIN PUBLIC KEY-----
  MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
  -----END PUBLIC KEY-----
jwt-jwks-url: https://issuer.example/keys
jwt-algorithms: [HS256, EdDSA, ES256]
jwt-audience: [culvert, other]
jwt-issuer: https://issuer.example/
jwt-leeway: 5
cors-origins: [https://a.example, http://localhost:3000]
heartbeat: 1.5
max-age: 20s
max-wait: 7
rate-namespace: 1000
rate-client: 0
rate-requests: 7
rate-burst: 30
max-connections-namespace: 9
max-connections-client: 3
max-connections-instance: 11
max-requests: 8
max-requests-namespace: 6
max-requests-client: 5
max-memory: 12
max-memory-namespace: 0
max-memory-client: 4
max-anonymous: 21
max-anonymous-address: 20
retention: 2h
retention-events: 1000000
slice: 30m
dedup-window: 1h
poll-only: true
poll: 50ms
log-level: debug
log-format: text
drain: 0s
`)
	l, err := loadWith(t, nil, "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	got := []any{
		l.Listen, l.AdminListen, l.DatabaseURL, l.Data, l.Migrate, strings.Join(l.APIKeys, " "), strings.Join(l.CORSOrigins, " "),
		l.Heartbeat, l.MaxAge, l.MaxWait, l.Retention, l.RetentionEvents, l.Slice, l.SliceEvents, l.DedupWindow,
		l.PollOnly, l.Poll, l.LogLevel.String(), l.LogFormat, l.Drain,
		l.JWTSecret, l.JWTPublicKey, l.JWKSURL, strings.Join(l.JWTAlgorithms, " "), strings.Join(l.JWTAudience, " "), l.JWTIssuer, l.JWTLeeway,
		*l.Options().Limits,
	}
	want := []any{
		"127.0.0.1:9000", "", "host=/run dbname=x", "/tmp/data", false, "a b", "https://a.example http://localhost:3000",
		1500 * time.Millisecond, 20 * time.Second, 7 * time.Second, 2 * time.Hour, int64(1_000_000), 30 * time.Minute, int64(50_000_000), time.Hour,
		true, 50 * time.Millisecond, "DEBUG", "text", time.Duration(0),
		"s", publicPEM + "\n", "https://issuer.example/keys", "HS256 EdDSA ES256", "culvert other", "https://issuer.example/", 5 * time.Second,
		api.Limits{NamespaceRate: 1000, RequestRate: 7, Burst: 30 * time.Second, Connections: 11, NamespaceConnections: 9, ClientConnections: 3,
			Requests: 8, NamespaceRequests: 6, ClientRequests: 5, Bytes: 12 << 20, ClientBytes: 4 << 20, Anonymous: 21, AnonymousAddress: 20},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// The default limits of the API are the defaults of the program's flags.
func TestDefaultLimitsAreThoseOfTheFlags(t *testing.T) {
	l, err := loadWith(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := *l.Options().Limits, api.DefaultLimits(); got != want {
		t.Errorf("by flags: %+v; by the API: %+v", got, want)
	}
}

// TestFaults: an error names the setting and its source, says what to do, and
// never shows a secret.
func TestFaults(t *testing.T) {
	const secret = "hunter2"
	for name, c := range map[string]struct {
		env, args []string
		want      []string
	}{
		"number":        {nil, []string{"--retention-events=many"}, []string{"retention-events", `"many"`, "flag --retention-events", "whole number"}},
		"memory":        {nil, []string{"--max-memory-client=3"}, []string{"max-memory-client", "MiB from 4"}},
		"seconds":       {[]string{"CULVERT_HEARTBEAT=0"}, nil, []string{"heartbeat", "CULVERT_HEARTBEAT", "from 0.1 to 600"}},
		"not a number":  {nil, []string{"--max-age=NaN"}, []string{"max-age", "from 1 to 86400"}},
		"long wait":     {nil, []string{"--max-wait=51"}, []string{"max-wait", "from 1 to 50"}},
		"drain":         {nil, []string{"--drain=6s"}, []string{"drain", "at most 5s"}},
		"port":          {[]string{"PORT=http"}, nil, []string{"listen", "from PORT", "the port is a number"}},
		"origin":        {nil, []string{"--cors-origins=*"}, []string{"cors-origins", "https://host"}},
		"two at once":   {nil, []string{"--slice=1x", "--log-level=loud"}, []string{"slice is", "log-level is"}},
		"slice too big": {nil, []string{"--slice=200h"}, []string{"retention (168h0m0s)", "--slice"}},
		"same port":     {nil, []string{"--admin-listen=127.0.0.1:8080"}, []string{"listen and admin-listen", "--admin-listen ''"}},
		"no PEM":        {nil, []string{"--jwt-public-key=" + secret}, []string{"JWT public key is not PEM"}},
		"wrong key":     {[]string{"CULVERT_JWT_PUBLIC_KEY=" + publicPEM}, []string{"--jwt-algorithms=RS256"}, []string{"EdDSA, which is not among the JWT algorithms"}},
		"algorithm":     {nil, []string{"--jwt-secret=" + secret, "--jwt-algorithms=HS256,none"}, []string{`JWT algorithm "none" is not supported`}},
		"nobody's":      {nil, []string{"--jwt-secret=" + secret, "--jwt-algorithms=HS256,RS256"}, []string{"JWT algorithm RS256 has no key"}},
		"plain JWKS":    {nil, []string{"--jwt-jwks-url=http://issuer.example/"}, []string{"JWKS URL must be https"}},
		"no rate":       {nil, []string{"--rate-client=-1"}, []string{"rate-client", "from 0"}},
		"no burst":      {nil, []string{"--rate-burst=0"}, []string{"rate-burst", "from 0.1"}},
		"leeway":        {nil, []string{"--jwt-leeway=61"}, []string{"jwt-leeway", "from 0 to 60"}},
		"unknown key":   {[]string{"CULVERT_CONFIG=" + write(t, "listne: x\n")}, nil, []string{`no setting "listne"`, "culvert config check"}},
		"nested key":    {[]string{"CULVERT_CONFIG=" + write(t, "listen:\n  port: 1\n")}, nil, []string{`no setting "listen.port"`}},
		"no yaml":       {[]string{"CULVERT_CONFIG=" + write(t, "{")}, nil, []string{"configuration file"}},
		"no file":       {nil, []string{"--config=/does/not/exist"}, []string{"/does/not/exist", "no such file"}},
		"scheme":        {[]string{"DATABASE_URL=mysql://u:" + secret + "@h/d"}, nil, []string{"database-url", "DATABASE_URL", "postgres://"}},
		"bad URL":       {[]string{"DATABASE_URL=postgres://u:" + secret + "/%zz@h/d"}, nil, []string{"database-url", "percent-encoded"}},
		"no DSN":        {[]string{"DATABASE_URL=" + secret}, nil, []string{"database-url", "postgres://user:password@host"}},
		"key":           {nil, []string{"--api-keys=" + secret + " x"}, []string{"api-keys", "flag --api-keys", "without blanks"}},
		"both":          {[]string{"CULVERT_JWT_SECRET=" + secret, "CULVERT_JWT_SECRET_FILE=/x"}, nil, []string{"CULVERT_JWT_SECRET and CULVERT_JWT_SECRET_FILE", "unset one"}},
		"secret absent": {[]string{"CULVERT_JWT_SECRET_FILE=/does/not/exist"}, nil, []string{"CULVERT_JWT_SECRET_FILE", "no such file"}},
		"secret empty":  {[]string{"CULVERT_JWT_SECRET_FILE=" + write(t, "\n")}, nil, []string{"CULVERT_JWT_SECRET_FILE", "is empty"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadWith(t, c.env, c.args...)
			if err == nil {
				t.Fatal("the settings are accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q shows a secret or has several lines", err)
			}
		})
	}
}

func TestUnknownVariables(t *testing.T) {
	l, err := loadWith(t, []string{
		"CULVERT_LISTNE=x", "CULVERT_TOKEN=t", "CULVERT_PG_BIN=/x", "CULVERT_LISTEN_FILE=/x",
		// what Kubernetes sets for a service named culvert
		"CULVERT_SERVICE_HOST=10.0.0.1", "CULVERT_PORT=tcp://10.0.0.1:80", "CULVERT_PORT_80_TCP_PORT=80",
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Warnings) != 2 || !strings.Contains(l.Warnings[0], "CULVERT_LISTEN_FILE ") || !strings.Contains(l.Warnings[1], "CULVERT_LISTNE ") {
		t.Errorf("warnings are %q, want one for CULVERT_LISTEN_FILE and one for CULVERT_LISTNE", l.Warnings)
	}
}

const publicPEM = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----"

// TestPublicKeySources: the PEM text may be the value itself, in a file, or on one line.
func TestPublicKeySources(t *testing.T) {
	for _, env := range []string{
		"CULVERT_JWT_PUBLIC_KEY=" + publicPEM, "CULVERT_JWT_PUBLIC_KEY_FILE=" + write(t, publicPEM+"\n"),
		"CULVERT_JWT_PUBLIC_KEY=" + strings.ReplaceAll(publicPEM, "\n", `\n`),
	} {
		l, err := loadWith(t, []string{env})
		if err != nil {
			t.Fatal(err)
		}
		if l.JWTPublicKey != publicPEM || len(l.Warnings) > 0 {
			t.Errorf("%s gives %q, %v", env, l.JWTPublicKey, l.Warnings)
		}
	}
}
