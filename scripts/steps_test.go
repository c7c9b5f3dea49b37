package scripts

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goStub replaces go and make: it records its arguments. Its tests need
// nginx and Squid. FAILS names the command that fails.
const goStub = `#!/bin/sh
echo "${0##*/} $*" >>"$WORLD/log"
case "$*" in
"$FAILS") exit 1 ;;
*-short* | */abuse) ;;
test*)
	for tool in nginx squid; do
		code=0
		scripts/need find "$tool" "Test of $tool" || code=$?
		[ "$code" -eq 0 ] || [ "$code" -eq 3 ] || exit 1
	done ;;
esac
`

// newSteps returns a world without a package manager that has every tool except lacking.
func newSteps(t *testing.T, lacking ...string) *world {
	t.Helper()
	w := newWorld(t, "unknown", "root")
	for _, name := range []string{"go", "make"} {
		if err := os.WriteFile(filepath.Join(w.dir, "bin", name), []byte(goStub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range slices.Concat([]string{"initdb", "postgres", "gcc", "node", "npm", "curl", "shellcheck", "python3", "chromium", "firefox"}, proxies) {
		if !slices.Contains(lacking, name) {
			w.has(name)
		}
	}
	return w
}

var (
	vetted  = []string{"go vet ./..."}
	others  = []string{"go vet ./...", "make --no-print-directory lint", "make --no-print-directory js"}
	raced   = append(slices.Clone(others), "go test -race -timeout 20m ./...")
	withAll = append(slices.Clone(raced), "go test -timeout 20m ./internal/abuse")
)

// Steps of make test and make test-go: what they run, what they say about skipped
// tests, and their exit code.
func TestSteps(t *testing.T) {
	for _, c := range []struct {
		name, which string
		lacking     []string
		env         string
		code        int
		ran         []string
		last        string // the end of the output
		says        string
	}{
		{"all", "all", nil, "", 0, withAll, "because they are timed; about 2 minutes\n", ""},
		{"all in CI", "all", nil, "CI=true", 0, withAll, "because they are timed; about 2 minutes\n", ""},
		{"two missing", "all", []string{"squid", "nginx"}, "", 0, withAll,
			"== NOT RUN: 2 tests or groups of tests, for which there is no tool here:\n   Squid: Test of squid\n   nginx: Test of nginx\n",
			"continuing without it: the clients are not tested behind it"},
		{"missing in CI", "all", []string{"squid"}, "CI=true", 1, nil, "\n== FAILED\n", "CANNOT INSTALL Squid"},
		{"no compiler", "all", []string{"gcc"}, "", 1, nil, "\n== FAILED\n", "'make test-go' goes without"},
		{"lint fails", "all", []string{"nginx"}, "FAILS=--no-print-directory lint", 1, others[:2], "\n== FAILED\n", ""},
		{"tests fail", "all", nil, "FAILS=test -race -timeout 20m ./...", 1, raced, "\n== FAILED\n", ""},
		{"a victim is harmed", "all", nil, "FAILS=test -timeout 20m ./internal/abuse", 1, withAll, "\n== FAILED\n", ""},
		{"go only", "go", nil, "", 0, append(vetted, "go test -race -short -timeout 20m ./..."), "behind real proxies\n", ""},
		{"go only, nothing else", "go", append([]string{"gcc", "node", "npm", "curl", "chromium", "firefox"}, proxies...), "", 0,
			append(vetted, "go test -short -timeout 20m ./..."), "behind real proxies\n", "NOT RUN: Go's race detector needs a C compiler"},
		{"go only, no compiler in CI", "go", []string{"gcc"}, "CI=true", 1, nil, "scripts/need test installs it\n", "Go's race detector needs a C compiler"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newSteps(t, c.lacking...)
			code, stderr := w.script(t, "test", []string{c.env}, c.which)
			if code != c.code || !strings.HasSuffix(stderr, c.last) || !strings.Contains(stderr, c.says) {
				t.Errorf("exit code %d, the script said\n%s", code, stderr)
			}
			if got := w.ran(t); !slices.Equal(got, c.ran) {
				t.Errorf("ran %q, want %q", got, c.ran)
			}
		})
	}
}
