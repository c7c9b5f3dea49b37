package localpg

import (
	"bytes"
	"os"
	"strings"
	"time"
)

const (
	// logLimit bounds postgres.log; what is older than that is dropped.
	logLimit = 16 << 20
	// logTail is how much of it goes into an error.
	logTail = 2 << 10
)

// openLog starts the log of a run afresh. Postgres writes to the file itself, so
// that it can go on when we are gone; it appends, so that we can shorten it.
func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
}

// tailLog returns the last lines of the log, or "" when it cannot be read: it is
// only wanted beside an error that matters more.
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

// lastWords is the one line of the log that says why a program of Postgres ended:
// the first that tells of an error, else the last one.
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

// boundLog keeps the log below limit until the process that writes it is done.
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

// shortenLog empties a log that has outgrown limit. A failure is tried again a
// minute later.
func shortenLog(path string, limit int64) {
	if info, err := os.Stat(path); err == nil && info.Size() > limit {
		_ = os.Truncate(path, 0)
	}
}
