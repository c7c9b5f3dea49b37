package cmd

import (
	"log/slog"
	"os"

	"golang.org/x/term"
)

// logger writes to standard error: for a person on a terminal, for a machine
// elsewhere.
func (p *process) logger(cfg *Config) *slog.Logger {
	format := cfg.LogFormat
	if format == "" {
		format = formatJSON
		if isTerminal(p.stderr) {
			format = formatText
		}
	}
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if format == formatText {
		return slog.New(slog.NewTextHandler(p.stderr, options))
	}
	return slog.New(slog.NewJSONHandler(p.stderr, options))
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
