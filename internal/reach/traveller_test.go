package reach

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/culvertmq/culvert/internal/tool"
)

// orders are the instructions of a client, as JSON in its first argument.
type orders struct {
	URL       string `json:"url"`
	Token     string `json:"token"`
	Room      string `json:"room"` // to emit to
	Count     int    `json:"count"`
	Pace      int64  `json:"pace"`    // ms
	Silence   int64  `json:"silence"` // ms
	Transport string `json:"transport,omitempty"`
	Page      string `json:"page,omitempty"`
	Forward   *proxy `json:"forward,omitempty"`
}

// traveller starts a client with its orders. The client writes its report to stdout, a
// part in each line.
type traveller func(ctx context.Context, orders string) *exec.Cmd

// javaScript bundles the library and the program that drives it into one file.
func javaScript(t *testing.T) traveller {
	t.Helper()
	tool.Path(t, "node")
	const library = "../../clients/js"
	esbuild := filepath.Join(library, "node_modules/.bin/esbuild")
	if _, err := os.Stat(esbuild); err != nil {
		install := exec.Command("npm", "ci", "--no-audit", "--no-fund")
		install.Dir = library
		if out, err := install.CombinedOutput(); err != nil {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}
	}
	file := filepath.Join(t.TempDir(), "client.mjs")
	build := exec.Command(esbuild, "testdata/client.ts", "--bundle", "--platform=node", "--format=esm",
		"--target=node20", "--sourcemap=inline", "--log-level=warning", "--outfile="+file)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("esbuild: %v\n%s", err, out)
	}
	return func(ctx context.Context, orders string) *exec.Cmd {
		return exec.CommandContext(ctx, "node", "--enable-source-maps", file, orders)
	}
}

// golang runs this test binary itself, see beClient.
func golang(ctx context.Context, orders string) *exec.Cmd {
	p := exec.CommandContext(ctx, os.Args[0], orders)
	p.Env = append(os.Environ(), beTraveller+"=1")
	return p
}
