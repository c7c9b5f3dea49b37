package localpg

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// run starts a postmaster and returns when it accepts connections.
func (s *Server) run(ctx context.Context) error {
	if err := awaitPrevious(ctx, s.folder.data(), s.opt.Progress); err != nil {
		return err
	}
	if err := s.folder.makeSocketFolder(s.sockets, s.account); err != nil {
		return err
	}
	// The children of a postmaster that was killed with -9 need a moment to
	// notice; until they end, the new postmaster refuses to run.
	started := time.Now()
	for {
		err := s.attempt(ctx)
		if !errors.Is(err, errOldChildren) || time.Since(started) > previousPatience {
			return err
		}
		s.opt.Log.Debug("postgres: children of a killed postmaster are still running")
	}
}

// attempt starts a postmaster once.
func (s *Server) attempt(ctx context.Context) (err error) {
	log, err := openLog(s.folder.log())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	args := append([]string{"-D", s.folder.data()}, s.opt.arguments(s.sockets)...)
	cmd := exec.Command(s.bin.postgres(), args...)
	cmd.Dir = string(s.folder)
	cmd.Stdout, cmd.Stderr = log, log
	child, err := launch(cmd, s.account, syscall.SIGINT)
	if err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	if err := s.awaitReady(ctx, child); err != nil {
		return errors.Join(err, child.abort())
	}
	s.adopt(child)
	s.opt.Log.Info("postgres runs", "pid", child.pid, "version", s.bin.major, "dsn", s.DSN())
	return nil
}

// errOldChildren means that backends of a killed postmaster still hold the shared
// memory of the cluster.
var errOldChildren = errors.New("processes of an earlier postmaster are still ending")

// awaitReady waits until the postmaster says in its pid file that it accepts
// connections, as pg_ctl does, and makes the database.
func (s *Server) awaitReady(ctx context.Context, child *process) error {
	err := poll(ctx, func() (bool, error) {
		if !child.running() {
			return false, s.explain(child)
		}
		now, err := readPidfile(s.folder.data())
		return now.pid == child.pid && now.ready, err
	})
	if err != nil {
		return err
	}
	return s.createDatabase(ctx)
}

// explain returns an error that says why a postmaster ended before it was ready.
func (s *Server) explain(child *process) error {
	said := lastWords(s.folder.log())
	// The old processes themselves write the second message, maybe after the first one.
	if strings.Contains(said, "pre-existing shared memory block") || strings.Contains(said, "unexpected postmaster exit") {
		return fmt.Errorf("%w: %s", errOldChildren, said)
	}
	return fmt.Errorf("postgres did not start: %w: %s; more is in %s", child.err, said, s.folder.log())
}

// createDatabase makes the database culvert unless it exists. It runs at
// every start, because the first start may have been interrupted before this point.
func (s *Server) createDatabase(ctx context.Context) (err error) {
	conn, err := pgx.Connect(ctx, s.DatabaseDSN("postgres"))
	if err != nil {
		return fmt.Errorf("create database: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	var exists bool
	const query = `
		SELECT EXISTS (
			SELECT FROM pg_database
			WHERE datname = $1
		)`
	if err := conn.QueryRow(ctx, query, superuser).Scan(&exists); err != nil {
		return fmt.Errorf("create database: %w", err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, `CREATE DATABASE `+superuser); err != nil {
		return fmt.Errorf("create database: %w", err)
	}
	return nil
}

// adopt makes child the server's postmaster and bounds its log while it runs.
func (s *Server) adopt(child *process) {
	s.current.Store(child)
	s.owned.Go(func() { boundLog(child.done, s.folder.log(), logLimit) })
}
