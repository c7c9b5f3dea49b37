package reach

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

var record = flag.Bool("record", false, "write the figures of this run to docs/reach.md")

// together is how many paths are travelled at once: they mostly wait.
const together = 5

// scene is two instances on one Postgres, and the client's program.
type scene struct {
	instances []string // host:port
	client    string
	turn      atomic.Uint64
}

// TestReach sends the client through every path there is.
func TestReach(t *testing.T) {
	s := &scene{client: bundle(t)}
	dsn := pgtest.Database(t)
	for range 2 {
		s.instances = append(s.instances, startInstance(t, dsn, heartbeat))
	}
	var chosen []path
	for _, p := range paths {
		if p.short || !testing.Short() {
			chosen = append(chosen, p)
		}
	}
	results := make([]result, len(chosen))
	var all sync.WaitGroup
	free := make(chan struct{}, together)
	for i, p := range chosen {
		all.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			t.Run(p.name, func(t *testing.T) { results[i] = s.travel(t, p) })
		})
	}
	all.Wait()
	t.Logf("\n%s", table(chosen, results))
	if *record && !t.Failed() && !testing.Short() {
		write(t, map[string]string{"table": table(chosen, results), "paths": describe(chosen)})
	}
}

// bundle makes one file of the client library and the program that drives it.
func bundle(t *testing.T) string {
	t.Helper()
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
	return file
}
