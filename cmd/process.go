package cmd

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/culvertmq/culvert/cmd/config"
)

// process is what a command gets from the operating system.
type process struct {
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// logger writes to standard error: text on a terminal, JSON elsewhere, unless the format is configured.
func (p *process) logger(cfg *config.Config) *slog.Logger {
	format := cfg.LogFormat
	if format == "" {
		format = config.FormatJSON
		if isTerminal(p.stderr) {
			format = config.FormatText
		}
	}
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if format == config.FormatText {
		return slog.New(slog.NewTextHandler(p.stderr, options))
	}
	return slog.New(slog.NewJSONHandler(p.stderr, options))
}

// errReported ends a command with a failure that has been printed already.
var errReported = errors.New("reported")

// say prints a message for the person at the terminal to standard error.
func (p *process) say(format string, args ...any) {
	fmt.Fprintf(p.stderr, "culvert: "+format+"\n", args...)
}
