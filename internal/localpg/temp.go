package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	tempPrefix = "culvert-throwaway-"
	// tempAge is the age from which a throw-away folder counts as left behind.
	tempAge = time.Hour
)

// StartTemp runs a throw-away Postgres in a folder below [os.TempDir], which
// Stop removes. Folders that killed processes left there are removed as well.
func StartTemp(ctx context.Context, opt Options) (*Server, error) {
	sweepTemp(ctx)
	dir, err := os.MkdirTemp("", tempPrefix)
	if err != nil {
		return nil, fmt.Errorf("local postgres: %w", err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // Postgres runs as another user, which must pass
			return nil, fmt.Errorf("local postgres: %w", err)
		}
	}
	opt.Dir = dir
	s, err := Start(ctx, opt)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s.temp = true
	return s, nil
}

// sweepTemp removes throw-away folders of processes that were killed. A folder that cannot
// be removed is left for the next time.
func sweepTemp(ctx context.Context) {
	old, err := filepath.Glob(filepath.Join(os.TempDir(), tempPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range old {
		sweep(ctx, folder(dir), time.Now().Add(-tempAge))
	}
}

// sweep removes one folder unless it is in use or was used after the given time:
// a process that has just made a folder may not have locked it yet.
func sweep(ctx context.Context, f folder, before time.Time) {
	info, err := os.Stat(f.lock())
	if err != nil || info.ModTime().After(before) {
		return
	}
	held, err := acquire(ctx, f.lock(), 0)
	if err != nil {
		return
	}
	if left, err := readPidfile(f.data()); err == nil && (left.pid == 0 || runsOn(left.pid, f.data()) == no) {
		_ = os.RemoveAll(string(f))
	}
	_ = held.release()
}
