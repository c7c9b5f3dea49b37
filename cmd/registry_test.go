package cmd

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/cmd/config"
)

// TestKeysAndNamespaces manages keys and namespaces of a server that has only stored keys.
func TestKeysAndNamespaces(t *testing.T) {
	env := []string{"DATABASE_URL=" + postgres(t).DSN()}
	if code, _, stderr := run(t, "", env, "key", "list"); code != exitFailure || !strings.Contains(stderr, "culvert migrate up") {
		t.Errorf("without a schema: %d, %s", code, stderr)
	}
	must(t, "", env, "migrate", "up")
	token := strings.TrimSpace(must(t, "", env, "key", "create", "--label=shop backend", "--namespaces=shop,default"))
	id := strings.Split(token, "_")[1]
	if out := must(t, "", env, "key", "list"); !strings.Contains(out, id) || !strings.Contains(out, "shop,default") ||
		!strings.Contains(out, "shop backend") || strings.Contains(out, token) {
		t.Errorf("key list prints\n%s", out)
	}

	data := t.TempDir()
	s := start(t, env, serveArgs(data)...)
	s.url = s.stderr.await(t, `(?m)^ready (http://\S+)$`)
	if entries, err := os.ReadDir(data); err != nil || len(entries) != 0 {
		t.Errorf("a server with a stored key makes secrets: %v, %v", entries, err)
	}
	emit := func(token, namespace string) int {
		code, _, _ := run(t, "", nil, "emit", "--url", s.url, "--token", token, "--namespace", namespace, "--event=e")
		return code
	}
	if emit(token, "shop") != exitOK || emit(token, "default") != exitOK || emit(token, "other") == exitOK {
		t.Error("the key does not open exactly its namespaces")
	}

	fresh := strings.TrimSpace(must(t, "", env, "key", "rotate", id, "--grace=1h"))
	eventually(t, "the new secret works", func() bool { return emit(fresh, "shop") == exitOK })
	if emit(token, "shop") != exitOK {
		t.Error("the old secret does not work within its grace")
	}
	must(t, "", env, "key", "revoke", id)
	eventually(t, "the revoked key is refused", func() bool { return emit(fresh, "shop") != exitOK && emit(token, "shop") != exitOK })
	if out := must(t, "", env, "key", "list"); !strings.Contains(out, "revoked") {
		t.Errorf("key list prints\n%s", out)
	}
	testNamespaces(t, env)
	testRegistryFaults(t, env)
}

func testNamespaces(t *testing.T, env []string) {
	must(t, "", env, "namespace", "create", "tenant", "--retention=720h", "--public=news-*,blog", "--emit-rate=2.5", "--max-rooms-client=9")
	for _, want := range []string{"tenant", "retention=720h0m0s", "public=news-*,blog", "emit-rate=2.5", "max-rooms-client=9", "default"} {
		if out := must(t, "", env, "namespace", "list"); !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	must(t, "", env, "namespace", "set", "tenant", "--retention=default", "--public=", "--dedup=1h")
	out := strings.Join(strings.Fields(must(t, "", env, "namespace", "show", "tenant")), " ")
	for _, want := range []string{"namespace tenant", "retention default", "dedup 1h0m0s", "public default", "emit-rate 2.5", "max-connections-client default"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	if code, _, stderr := run(t, "", env, "namespace", "delete", "tenant"); code != exitUsage || !strings.Contains(stderr, "--yes") {
		t.Errorf("the namespace was deleted without --yes: %d, %s", code, stderr)
	}
	must(t, "", env, "namespace", "delete", "tenant", "--yes")
	if out := must(t, "", env, "namespace", "list"); strings.Contains(out, "tenant") {
		t.Errorf("the namespace is still there:\n%s", out)
	}
}

func testRegistryFaults(t *testing.T, env []string) {
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{exitFailure, `there is no namespace "none"`, []string{"namespace", "show", "none"}},
		{exitFailure, `there is no namespace "none"`, []string{"namespace", "set", "none", "--dedup=1h"}},
		{exitFailure, `there is no namespace "none"`, []string{"namespace", "delete", "none", "--yes"}},
		{exitFailure, "exists already", []string{"namespace", "create", "default"}},
		{exitUsage, "namespace must be", []string{"namespace", "create", "Not valid"}},
		{exitUsage, "want one argument", []string{"namespace", "show"}},
		{exitUsage, "at least one setting", []string{"namespace", "set", "default"}},
		{exitUsage, "--retention: must be a duration", []string{"namespace", "set", "default", "--retention=7 days"}},
		{exitUsage, "max_rooms_client must be", []string{"namespace", "set", "default", "--max-rooms-client=99999999"}},
		{exitFailure, `there is no key "none"`, []string{"key", "revoke", "none"}},
		{exitFailure, `there is no key "none"`, []string{"key", "rotate", "none"}},
		{exitUsage, "--namespaces", []string{"key", "create", "--namespaces=Not valid"}},
		{exitUsage, "--namespaces", []string{"key", "create", "--namespaces="}},
		{exitUsage, "--ttl", []string{"key", "create", "--ttl=0s"}},
		{exitUsage, "--ttl", []string{"key", "create", "--ttl=-1s"}},
		{exitUsage, "--grace", []string{"key", "rotate", "x", "--grace=-1s"}},
	} {
		if code, stdout, stderr := run(t, "", env, c.args...); code != c.code || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("%q exits with %d: %s%s", c.args, code, stdout, stderr)
		}
	}
}

func TestConfirm(t *testing.T) {
	for answer, yes := range map[string]bool{"y\n": true, "YES\n": true, "n\n": false, "\n": false, "": false} {
		p := &process{stdin: strings.NewReader(answer), stderr: newOutput()}
		if err := p.confirm(t.Context(), "Really?"); (err == nil) != yes {
			t.Errorf("%q: %v", answer, err)
		}
	}
}

// TestGeneratedSecretsStayInUse: after a key was stored, tokens that were signed with the server's generated
// secret stay valid.
func TestGeneratedSecretsStayInUse(t *testing.T) {
	first := config.Config{Data: t.TempDir()}
	if made, err := first.GenerateSecrets(false); made || err != nil || first.JWTSecret != "" {
		t.Errorf("secrets were made although that was not allowed: %v, %v", made, err)
	}
	if _, err := first.GenerateSecrets(true); err != nil {
		t.Fatal(err)
	}
	second := config.Config{Data: first.Data}
	if _, err := second.GenerateSecrets(false); err != nil || second.JWTSecret != first.JWTSecret {
		t.Errorf("another secret, %v", err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
