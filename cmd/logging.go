package cmd

import (
	"log/slog"
	"os"

	"golang.org/x/term"

	"github.com/culvertmq/culvert/cmd/config"
)

// logger writes to standard error: for a person on a terminal, for a machine
// elsewhere.
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

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
