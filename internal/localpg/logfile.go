package localpg

import (
	"bytes"
	"os"
	"strings"
	"time"
)

const (
	// logLimit bounds postgres.log: a longer log is emptied.
	logLimit = 16 << 20
	// logTail is how much of the log an error contains.
	logTail = 2 << 10
)

// openLog starts a new log. Postgres writes to the file itself, so
// that it can still write when this process has ended; it appends, so that this process can shorten the file.
func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
}

// tailLog returns the last lines of the log, or "" if it cannot be read: they only
// supplement another error.
func tailLog(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	if cut := len(raw) - logTail; cut > 0 {
		raw = raw[cut:]
		raw = raw[bytes.IndexByte(raw, '\n')+1:]
	}
	return strings.TrimSpace(string(raw))
}

// lastWords returns the line of the log that says why a program of Postgres ended:
// the first line with an error, else the last line.
func lastWords(path string) string {
	all := strings.Split(tailLog(path), "\n")
	for _, line := range all {
		for _, mark := range []string{"PANIC: ", "FATAL: ", "ERROR: ", "error: "} {
			if i := strings.Index(line, mark); i >= 0 {
				return strings.Join(strings.Fields(line[i:]), " ")
			}
		}
	}
	return strings.TrimSpace(all[len(all)-1])
}

// boundLog keeps the log below limit until the process that writes it has ended.
func boundLog(done <-chan struct{}, path string, limit int64) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			shortenLog(path, limit)
		}
	}
}

// shortenLog empties a log that is longer than limit. If that fails, it is tried again a
// minute later.
func shortenLog(path string, limit int64) {
	if info, err := os.Stat(path); err == nil && info.Size() > limit {
		_ = os.Truncate(path, 0)
	}
}
