package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/culvertmq/culvert/cmd/usage"
)

// benchmarks are in the order in which they run. Each runs on a rig of its own with this number of instances, and
// appends its rows.
var benchmarks = []struct {
	name      string
	instances int
	run       func(*bench, context.Context, *rig, []instance) error
}{
	{"emit", 1, (*bench).emits},
	{"batch", 1, (*bench).batches},
	{"catchup", 1, (*bench).catchUp},
	{"latency", 2, (*bench).latency},
	{"fanout", 1, (*bench).fanOut},
	{"polls", 1, (*bench).polls},
	{"cost", 0, (*bench).cost},
	{"joins", 1, (*bench).joins},
	{"replies", 2, (*bench).replies},
	{"presence", 0, (*bench).presence},
	{"arrivals", 0, (*bench).arrivals},
	{"instances", 0, (*bench).instances},
	{"returns", 0, (*bench).returns},
	{"growth", 1, (*bench).growth},
	{"churn", 0, (*bench).churn},
}

// Command is `culvert bench`.
func Command(stdout, stderr io.Writer) *cobra.Command {
	b := &bench{stdout: stdout, stderr: stderr}
	var names []string
	for _, m := range benchmarks {
		if m.name != "churn" { // it takes half an hour
			names = append(names, m.name)
		}
	}
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine: emits, deliveries, latency, members",
		Long: `Starts a Postgres with durable commits and the servers it needs on loopback,
measures, and prints each figure beside a ceiling from the same run: the figure of the
same work without the part in question. Servers, clients and Postgres share this machine,
so only the ratios can be compared with another machine's.

  emit     emits/s over HTTP, one event a request; ceiling: an HTTP server of the
           same settings that reads the body and answers without storing
  batch    emits/s over HTTP in batches of 100; ceiling: the queue's Append
           called directly by as many callers
  catchup  events/s of one client that reads an old log by SSE; ceiling: the SQL
           read alone
  latency  time from the request of an emit to its frame on another instance, and
           from the answer of the emit, at a rate far below saturation
  fanout   SSE deliveries/s to 1,000 and to 5,000 streams of one room, and to 1,000
           rooms of 10; ceiling: a bare program that writes frames made beforehand
  polls    time from an emit to the answers of 1,000 long polls, beside 1,000 streams, and
           deliveries/s to them; ceiling: a bare program that answers from memory
  cost     memory of an idle stream and CPU of 100,000 deliveries, in a server
           process of its own; ceiling: the bare program as a process
  joins    joins/s over HTTP, compared with single emits in the same run
  replies  time from an emit that waits on one instance to the reply of a client on the
           other one
  presence time of Postgres to keep 10,000 clients online
  arrivals time that 5,000 and 10,000 clients take to connect, 256 at a time, until all
           have a stream of a server process of its own; ceiling: the bare program
  instances
           emits/s over HTTP to two and to four server processes on one database,
           compared with one
  returns  clients/s that come back after a restart and receive what they missed, and
           the time until each has its first event
  growth   rates of emits, pages, joins and polls with a million stored clients and
           rooms, compared with 1,000
  churn    memory of a server process while clients come and go for --churn; only if
           --only names it`,
		Example: `  culvert bench
  culvert bench --only emit --duration 10s --cpuprofile emit.prof`,
		Args: usage.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return b.run(c) },
	}
	f := c.Flags()
	f.DurationVar(&b.duration, "duration", 5*time.Second, "how long to measure each rate, at most 1m")
	f.IntVar(&b.callers, "callers", 64, "concurrent emitters, at most 1024")
	f.IntVar(&b.events, "events", 200_000, "how many events catchup reads, at most 5 million")
	f.StringSliceVar(&b.only, "only", names, "which benchmarks to run: "+strings.Join(names, ",")+"; or churn")
	f.DurationVar(&b.churnFor, "churn", 30*time.Minute, "how long clients come and go in churn, at most 2h")
	f.StringVar(&b.profile, "cpuprofile", "", "write a CPU profile of the whole run to this file")
	c.AddCommand(bareCommand(stderr))
	return c
}

func (b *bench) run(c *cobra.Command) (err error) {
	switch {
	case b.duration <= 0 || b.duration > time.Minute:
		return usage.Errorf(c, "--duration must be between 0 and 1m")
	case b.callers < 1 || b.callers > 1024:
		return usage.Errorf(c, "--callers must be between 1 and 1024")
	case b.churnFor < time.Minute || b.churnFor > 2*time.Hour:
		return usage.Errorf(c, "--churn must be between 1m and 2h")
	case b.events < 1000 || b.events > 5_000_000:
		return usage.Errorf(c, "--events must be between 1000 and 5000000")
	}
	if b.profile != "" {
		f, err := os.Create(b.profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return errors.Join(err, f.Close())
		}
		defer func() {
			pprof.StopCPUProfile()
			_ = f.Close()
		}()
	}
	for _, m := range benchmarks {
		if !slices.Contains(b.only, m.name) {
			continue
		}
		fmt.Fprintf(b.stderr, "culvert: measuring %s …\n", m.name)
		measure := func(r *rig, all []instance) error { return m.run(b, c.Context(), r, all) }
		if err := onRig(c.Context(), m.instances, measure); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", m.name, err), b.print()) // what was measured before is not lost
		}
	}
	if len(b.rows) == 0 {
		return usage.Errorf(c, "--only must name at least one benchmark")
	}
	return b.print()
}
