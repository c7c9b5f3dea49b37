package cmd

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows on a terminal how far emit has come: in bytes of a file, or else in events. Without a terminal
// it shows nothing.
type progress struct {
	p     *process
	bar   *progressbar.ProgressBar // nil without a terminal
	bytes bool
}

func (p *process) newProgress(input io.Reader) *progress {
	pr := &progress{p: p}
	if !isTerminal(p.stderr) {
		return pr
	}
	total := int64(-1)
	if f, ok := input.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			total, pr.bytes = info.Size(), true
		}
	}
	options := []progressbar.Option{
		progressbar.OptionSetWriter(p.stderr),
		progressbar.OptionSetDescription("emit"),
		progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionClearOnFinish(),
	}
	if pr.bytes {
		options = append(options, progressbar.OptionShowBytes(true))
	} else {
		options = append(options, progressbar.OptionShowIts(), progressbar.OptionSetItsString("events"))
	}
	pr.bar = progressbar.NewOptions64(total, options...)
	return pr
}

// add advances the progress. It ignores a terminal that cannot be written to.
func (pr *progress) add(bytes, events int) {
	if pr.bar == nil {
		return
	}
	if pr.bytes {
		_ = pr.bar.Add(bytes)
		return
	}
	_ = pr.bar.Add(events)
}

// say prints a line, and takes the bar off the screen before.
func (pr *progress) say(format string, args ...any) {
	if pr.bar != nil {
		_ = pr.bar.Clear()
	}
	fmt.Fprintf(pr.p.stderr, "culvert: "+format+"\n", args...)
}

// finish removes the bar from the screen.
func (pr *progress) finish() {
	if pr.bar != nil {
		_ = pr.bar.Clear()
		_ = pr.bar.Exit()
	}
}
