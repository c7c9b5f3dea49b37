package localpg

import (
	"context"
	"errors"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestImmediateStopAndStartAgain(t *testing.T) {
	t.Parallel()
	s := mustStart(t, quick(tempDir(t)))
	address, done := s.DSN(), s.Done()
	keep(t, address)
	if err := s.StartAgain(t.Context()); err == nil {
		t.Error("a running server was started again")
	}
	if err := s.StopImmediate(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-done
	if state := clusterState(t, s); state == "shut down" {
		t.Error("an immediate stop left a cleanly shut down cluster")
	}
	_, err := Start(t.Context(), s.opt)
	wantError(t, err, ErrInUse)

	if err := s.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.DSN() != address {
		t.Errorf("the DSN changed to %s", s.DSN())
	}
	remember(t, address)
	if err := s.Err(); err != nil {
		t.Errorf("Err of a running server: %v", err)
	}
	mustStop(t, s)
	if state := clusterState(t, s); state != "shut down" {
		t.Errorf("Stop left the cluster %q", state)
	}
}

func TestStopInAHurry(t *testing.T) {
	t.Parallel()
	s := mustStart(t, quick(tempDir(t)))
	keep(t, s.DSN())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, s.Stop(ctx), context.Canceled)
	<-s.Done()
	remember(t, mustStart(t, s.opt).DSN())
}

// TestPostmasterKilled stops a session of the killed postmaster from ending, as may happen on a busy
// machine: Postgres refuses to start while that session exists.
func TestPostmasterKilled(t *testing.T) {
	t.Parallel()
	opt := quick(tempDir(t))
	refused := make(chan struct{}, 1)
	opt.Log = slog.New(slog.NewTextHandler(notify(refused), &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := mustStart(t, opt)
	keep(t, s.DSN())
	session, err := pgx.Connect(t.Context(), s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close(context.Background()) }()
	backend := int(session.PgConn().PID())
	if err := errors.Join(syscall.Kill(backend, syscall.SIGSTOP), s.current.Load().signal(syscall.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Err of a killed server: %v", err)
	}
	again := make(chan error, 1)
	go func() { again <- s.StartAgain(t.Context()) }()
	select {
	case <-refused:
	case err := <-again:
		again <- err
		t.Error("the new postmaster was not refused")
	}
	if err := syscall.Kill(backend, syscall.SIGCONT); err != nil {
		t.Error(err)
	}
	if err := <-again; err != nil {
		t.Fatal(err)
	}
	remember(t, s.DSN())
}

// notify is a log's writer that signals when the log says that a start was refused.
type notify chan<- struct{}

func (n notify) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "killed postmaster") {
		select {
		case n <- struct{}{}:
		default:
		}
	}
	return len(line), nil
}

// clusterState returns the state of a server that does not run, from pg_controldata.
func clusterState(t *testing.T, s *Server) string {
	t.Helper()
	// PATH may have links to only some of the programs.
	postgres, err := filepath.EvalSymlinks(s.bin.postgres())
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(filepath.Dir(postgres), "pg_controldata")
	output, err := exec.CommandContext(t.Context(), program, s.folder.data()).Output()
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(output), "Database cluster state:")
	state, _, _ := strings.Cut(after, "\n")
	return strings.TrimSpace(state)
}
