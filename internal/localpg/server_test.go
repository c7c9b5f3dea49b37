package localpg

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestDataSurvivesStopAndStart(t *testing.T) {
	t.Parallel()
	opt := quick(filepath.Join(tempDir(t), "new", "folder"))
	first := mustStart(t, opt)
	keep(t, first.DSN())
	mustStop(t, first)
	mustStop(t, first) // a second time does nothing
	select {
	case <-first.Done():
	default:
		t.Error("Done is open after Stop")
	}
	if _, err := tryAsk(t.Context(), first.DSN(), `SELECT 'up'`); err == nil {
		t.Error("Postgres answers after Stop")
	}
	wantError(t, first.StartAgain(t.Context()), ErrStopped)

	second := mustStart(t, opt)
	remember(t, second.DSN())
	if second.DSN() != first.DSN() {
		t.Errorf("the DSN changed from %s to %s", first.DSN(), second.DSN())
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	s := mustStart(t, Options{Dir: tempDir(t)})
	for setting, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_connections": "100",
		"listen_addresses": "", "server_encoding": "UTF8", "lc_collate": "C",
	} {
		if setting == "lc_collate" { // Postgres 16 and later have no such setting
			if got := ask(t, s.DSN(), `SELECT datcollate FROM pg_database WHERE datname = current_database()`); got != want {
				t.Errorf("collation is %q, want %q", got, want)
			}
			continue
		}
		if got := ask(t, s.DSN(), `SELECT current_setting('`+setting+`')`); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	if got := ask(t, s.DSN(), `SELECT current_user || ' in ' || current_database()`); got != "culvert in culvert" {
		t.Errorf("the DSN makes me %s", got)
	}
	info, err := os.Stat(s.sockets)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("socket folder: %v %v, want mode 0700", info.Mode(), err)
	}
}

func TestSettingsCannotOpenTheServer(t *testing.T) {
	t.Parallel()
	opt := quick(tempDir(t))
	opt.Settings["listen_addresses"] = "*"
	opt.Settings["work_mem"] = "5MB"
	s := mustStart(t, opt)
	if got := ask(t, s.DSN(), `SHOW listen_addresses`); got != "" {
		t.Errorf("listens on %q", got)
	}
	if got := ask(t, s.DSN(), `SHOW work_mem`); got != "5MB" {
		t.Errorf("work_mem is %s, want the given one", got)
	}
}

func TestPsqlTakesTheDSN(t *testing.T) {
	t.Parallel()
	s := mustStart(t, quick(filepath.Join(tempDir(t), "a b+c&d%e")))
	psql := filepath.Join(s.bin.dir, "psql")
	if _, err := os.Stat(psql); err != nil {
		psql = "psql"
	}
	cmd := exec.CommandContext(t.Context(), psql, "-XAtc", `SELECT current_user`, s.DSN())
	cmd.Env = append(os.Environ(), "PGPORT=1", "PGHOST=nowhere")
	output, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(output)) != "culvert" {
		t.Errorf("psql %s: %s %v", s.DSN(), output, err)
	}
	if got := ask(t, s.DSN(), `SELECT 'pgx'`); got != "pgx" {
		t.Errorf("pgx read %q", got)
	}
}

func TestFailedStartSaysWhatPostgresSaid(t *testing.T) {
	t.Parallel()
	opt := quick(tempDir(t))
	opt.Settings["no_such_setting"] = "on"
	_, err := Start(t.Context(), opt)
	if err == nil || !strings.Contains(err.Error(), `unrecognized configuration parameter "no_such_setting"`) {
		t.Errorf("got %v", err)
	} else if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has more than one line: %v", err)
	}
	delete(opt.Settings, "no_such_setting")
	mustStart(t, opt)
}

func TestStartIsInterrupted(t *testing.T) {
	t.Parallel()
	opt := quick(tempDir(t))
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("the operator changed their mind")
	opt.Progress = func(string) { cancel(reason) } // as initdb begins
	_, err := Start(ctx, opt)
	wantError(t, err, reason)
	opt.Progress = nil
	mustStart(t, opt)
}
