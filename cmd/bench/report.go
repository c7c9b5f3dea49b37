package bench

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// bench measures Culvert, and in the same run a ceiling on the same machine: only the ratios can be compared
// with other machines.
type bench struct {
	stdout   io.Writer
	stderr   io.Writer
	duration time.Duration
	churnFor time.Duration
	callers  int
	events   int
	only     []string
	profile  string
	rows     []row
}

// row is one line of the result table.
type row struct{ what, measured, ceiling, ratio, goal string }

func (b *bench) print() error {
	fmt.Fprintf(b.stdout, "%d CPUs, %s, %d callers\n\n", runtime.NumCPU(), runtime.Version(), b.callers)
	w := tabwriter.NewWriter(b.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tmeasured\tceiling\tratio\tgoal")
	for _, r := range b.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.what, r.measured, r.ceiling, r.ratio, r.goal)
	}
	return w.Flush()
}

// compare adds a row of two rates.
func (b *bench) compare(what string, measured, ceiling float64, goal string) {
	b.rows = append(b.rows, row{
		what, perSecond(measured), perSecond(ceiling), fmt.Sprintf("%.0f %%", 100*measured/ceiling), goal,
	})
}

// times adds a row of two times for the same work.
func (b *bench) times(what string, measured, ceiling time.Duration, goal string) {
	b.rows = append(b.rows, row{
		what, measured.Round(time.Millisecond).String(), ceiling.Round(time.Millisecond).String(),
		fmt.Sprintf("%.2f x", measured.Seconds()/ceiling.Seconds()), goal,
	})
}

func perSecond(rate float64) string { return fmt.Sprintf("%.0f/s", rate) }

func (b *bench) quantiles(what string, d []time.Duration, goal string) {
	slices.Sort(d)
	at := func(q float64) time.Duration {
		return d[min(int(q*float64(len(d))), len(d)-1)].Round(10 * time.Microsecond)
	}
	b.rows = append(b.rows, row{what, fmt.Sprintf("p50 %v, p99 %v", at(0.5), at(0.99)), "", "", goal})
}

func kibibytes(n float64) string { return fmt.Sprintf("%.1f KiB", n/1024) }
