package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// superuser owns the cluster and the database of that name.
const superuser = "culvert"

// checkCluster returns the major version of the cluster in the folder, or 0 if
// there is none yet. If there is anything else in its place, the error explains that.
func (f folder) checkCluster() (int, error) {
	major, err := clusterMajor(f.data())
	if major != 0 || err != nil {
		return major, err
	}
	entries, err := os.ReadDir(f.data())
	if err != nil && !os.IsNotExist(err) {
		return 0, err
	}
	if len(entries) > 0 {
		return 0, fmt.Errorf("%w: %s is not empty (%s …) but not a Postgres cluster either; it was left alone: "+
			"restore it or move it away", ErrForeign, f.data(), entries[0].Name())
	}
	return 0, nil
}

// makeCluster runs initdb in another folder and renames the result, so that
// a data folder is always a complete cluster. What an interrupted initdb
// left behind was never in use and is made again.
func (s *Server) makeCluster(ctx context.Context) error {
	s.opt.Progress(fmt.Sprintf("making a PostgreSQL %d cluster in %s", s.bin.major, s.folder))
	tmp := s.folder.tmp()
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := s.account.mkdir(tmp); err != nil {
		return err
	}
	if err := s.initdb(ctx, tmp); err != nil {
		return err
	}
	// There may be an empty folder, which is removed; a folder with anything in it is not removed.
	if err := os.Remove(s.folder.data()); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.Rename(tmp, s.folder.data()); err != nil {
		return err
	}
	return syncDir(string(s.folder))
}

// initdb fills dir with a new cluster.
func (s *Server) initdb(ctx context.Context, dir string) (err error) {
	args := []string{"-D", dir, "--username=" + superuser, "--auth=trust", "--encoding=UTF8", "--locale=C"}
	if !s.opt.durable() {
		args = append(args, "--no-sync")
	}
	cmd := exec.Command(s.bin.initdb(), args...)
	cmd.Dir = string(s.folder)
	log, err := openLog(s.folder.log())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	cmd.Stdout, cmd.Stderr = log, log
	child, err := launch(cmd, s.account, syscall.SIGTERM)
	if err != nil {
		return fmt.Errorf("initdb: %w", err)
	}
	select {
	case <-child.done:
	case <-ctx.Done():
		return fmt.Errorf("initdb: %w", errors.Join(context.Cause(ctx), child.abort()))
	}
	if child.err != nil {
		return fmt.Errorf("initdb: %w: %s; more is in %s", child.err, lastWords(s.folder.log()), s.folder.log())
	}
	return nil
}

// syncDir makes a rename in dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// clusterMajor returns the major version that made the cluster in dir; 0 if dir
// holds none.
func clusterMajor(dir string) (int, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || major <= 0 {
		// Before Postgres 10 the file held two numbers.
		return 0, fmt.Errorf("%w: %s was made by PostgreSQL %q, which culvert cannot run",
			ErrForeign, dir, strings.TrimSpace(string(raw)))
	}
	return major, nil
}
