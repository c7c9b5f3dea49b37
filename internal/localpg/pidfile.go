package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// previousPatience is how long an earlier postmaster may take to shut down.
const previousPatience = 10 * time.Second

// pidfile is what postmaster.pid says: the first line is the pid, the eighth the
// status (miscadmin.h, LOCK_FILE_LINE_*).
type pidfile struct {
	pid   int
	ready bool
}

// readPidfile returns the zero pidfile when there is none, or only part of one.
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
		return pidfile{}, nil //nolint:nilerr // being written, or empty after a power cut; Postgres judges it itself
	}
	status := ""
	if len(lines) > 7 {
		status = strings.TrimSpace(lines[7])
	}
	// A standby, or a recovery that is still under way, takes connections as well.
	return pidfile{pid: pid, ready: status == "ready" || status == "standby"}, nil
}

// awaitPrevious waits for the postmaster of a process that was just killed: it
// is still shutting down. A pid file left by a crash is Postgres's to recover
// from, unless its pid was given to an unrelated process since: Postgres would
// take that for a postmaster and refuse, so the file is removed. We hold the
// folder's lock, and Postgres still checks the shared memory of the data folder.
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
		return fmt.Errorf("%w: a Postgres nobody looks after (pid %d) still runs on %s; "+
			"stop it with: kill -INT %d", ErrInUse, last, data, last)
	}
	return err
}

// removePidfile is no error when Postgres was quicker.
func removePidfile(data string) error {
	if err := os.Remove(filepath.Join(data, "postmaster.pid")); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// alive reports whether a process has the pid, be it one we may not signal.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// answer is what can be found out about another process.
type answer int

const (
	unknown answer = iota
	no
	yes
)
