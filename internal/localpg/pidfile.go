package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// previousPatience is how long an earlier postmaster may take to shut down.
const previousPatience = 10 * time.Second

// pidfile is the content of postmaster.pid: the first line is the pid, the eighth the
// status (miscadmin.h, LOCK_FILE_LINE_*).
type pidfile struct {
	pid   int
	ready bool
}

// readPidfile returns the zero pidfile if there is no file, or an incomplete one.
func readPidfile(data string) (pidfile, error) {
	raw, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if os.IsNotExist(err) {
		return pidfile{}, nil
	}
	if err != nil {
		return pidfile{}, err
	}
	lines := strings.Split(string(raw), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid <= 0 {
		return pidfile{}, nil //nolint:nilerr // being written, or empty after a power cut; Postgres checks it itself
	}
	status := ""
	if len(lines) > 7 {
		status = strings.TrimSpace(lines[7])
	}
	// A standby, and a recovery that is still under way, accept connections as well.
	return pidfile{pid: pid, ready: status == "ready" || status == "standby"}, nil
}

// awaitPrevious waits for the postmaster of a process that was just killed, which may
// still be shutting down. Postgres itself handles a pid file that a crash left behind,
// unless an unrelated process has the pid by now: Postgres would
// take that process for a postmaster and refuse to start, so the file is removed. That is safe because this
// process holds the folder's lock, and Postgres still checks the shared memory of the data folder.
func awaitPrevious(ctx context.Context, data string, progress func(string)) error {
	told := false
	var last int
	ctx, cancel := patient(ctx, previousPatience)
	defer cancel()
	err := poll(ctx, func() (bool, error) {
		previous, err := readPidfile(data)
		if err != nil || previous.pid == 0 || !alive(previous.pid) {
			return true, err
		}
		last = previous.pid
		switch runsOn(previous.pid, data) {
		case no:
			return true, removePidfile(data)
		case unknown:
			return true, nil
		}
		if !told {
			told = true
			progress(fmt.Sprintf("waiting for the previous Postgres (pid %d) to shut down", previous.pid))
		}
		return false, nil
	})
	if errors.Is(err, errPatience) {
		return fmt.Errorf("%w: a Postgres without its culvert process (pid %d) still runs on %s; "+
			"stop it with: kill -INT %d", ErrInUse, last, data, last)
	}
	return err
}

// removePidfile removes the file; it is not an error if Postgres has removed it already.
func removePidfile(data string) error {
	if err := os.Remove(filepath.Join(data, "postmaster.pid")); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}
