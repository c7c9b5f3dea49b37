package reach

import (
	"flag"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

var record = flag.Bool("record", false, "write the figures of this run to docs/reach.md")

// together is how many paths are tested at once, since they mostly wait.
const together = 5

// scene has the instances on one Postgres.
type scene struct {
	instances []string // host:port
	turn      atomic.Uint64
}

// TestJavaScript tests the JavaScript client on every path.
func TestJavaScript(t *testing.T) {
	chosen := choose(func(path) bool { return true })
	results := travelAll(t, javaScript(t), chosen)
	if *record && !t.Failed() {
		write(t, map[string]string{"javascript": table(chosen, results), "paths": describe(chosen)})
	}
}

// TestGo tests the Go client on some paths, and with -record on all that do not
// depend on the behaviour of browsers.
func TestGo(t *testing.T) {
	t.Parallel() // to TestBytes
	chosen := choose(func(p path) bool { return !p.page && (p.short || *record) })
	results := travelAll(t, golang, chosen)
	if *record && !t.Failed() {
		write(t, map[string]string{"go": table(chosen, results)})
	}
}

func choose(f func(path) bool) (chosen []path) {
	for _, p := range slices.Concat(paths, gateways) {
		if f(p) {
			chosen = append(chosen, p)
		}
	}
	return chosen
}

// travelAll tests a client on these paths, some at a time.
func travelAll(t *testing.T, by traveller, chosen []path) []result {
	s := &scene{}
	dsn := pgtest.Database(t)
	for range 2 {
		s.instances = append(s.instances, startInstance(t, dsn, heartbeat))
	}
	results := make([]result, len(chosen))
	var all sync.WaitGroup
	free := make(chan struct{}, together)
	for i, p := range chosen {
		all.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			t.Run(p.name, func(t *testing.T) { results[i] = s.travel(t, p, by) })
		})
	}
	all.Wait()
	for i, r := range results {
		if *record && r.First == nil {
			t.Errorf("%s has no figures to record", chosen[i].name)
		}
	}
	t.Logf("\n%s", table(chosen, results))
	return results
}
