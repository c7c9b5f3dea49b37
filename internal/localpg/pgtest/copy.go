package pgtest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/internal/localpg"
)

// Copy is a copy of a server's data folder, like a backup or a snapshot of its volume.
type Copy struct {
	server *localpg.Server
	data   string // of the server
	dir    string // contains the copy as "data"
}

// Snapshot crashes the server, copies its data folder and starts the server again. The copy is like
// the snapshot of a volume at one moment.
func Snapshot(t testing.TB, server *localpg.Server) *Copy {
	t.Helper()
	c := newCopy(t, server)
	check(t, server.StopImmediate(t.Context()))
	copyFolder(t, c.data, c.dir+"/data")
	check(t, os.RemoveAll(c.dir+"/data/postmaster.pid"))
	check(t, server.StartAgain(t.Context()))
	return c
}

// BaseBackup copies the data folder of the server while it runs, as pg_basebackup does.
func BaseBackup(t testing.TB, server *localpg.Server) *Copy {
	t.Helper()
	c := newCopy(t, server)
	conn, err := pgx.Connect(t.Context(), server.DatabaseDSN("postgres"))
	check(t, err)
	defer func() { check(t, conn.Close(context.Background())) }()
	begin, end := `SELECT pg_backup_start('test', true)`, `SELECT labelfile FROM pg_backup_stop(false)`
	var version int
	check(t, conn.QueryRow(t.Context(), `SELECT current_setting('server_version_num')::int`).Scan(&version))
	if version < 150000 {
		begin, end = `SELECT pg_start_backup('test', true, false)`, `SELECT labelfile FROM pg_stop_backup(false, false)`
	}
	_, err = conn.Exec(t.Context(), begin)
	check(t, err)
	copyInUse(t, c.data, c.dir+"/data")
	var label string
	check(t, conn.QueryRow(t.Context(), end).Scan(&label))
	// The backup includes the write-ahead log that was written meanwhile.
	check(t, os.RemoveAll(c.dir+"/data/pg_wal"))
	copyInUse(t, c.data+"/pg_wal", c.dir+"/data/pg_wal")
	check(t, os.RemoveAll(c.dir+"/data/postmaster.pid"))
	c.Write(t, "backup_label", label)
	return c
}

// Write puts a file into the copy, such as standby.signal, or appends to it.
func (c *Copy) Write(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join(c.dir, "data", name)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	check(t, err)
	_, err = f.WriteString(text)
	check(t, errors.Join(err, f.Close()))
	// Postgres runs as the owner of its data, which is not root.
	execProgram(t, "chown", "--reference="+c.dir+"/data/PG_VERSION", path)
}

// PutBack crashes the server and starts it on the copy, under the same address. It can
// be called several times.
func (c *Copy) PutBack(t testing.TB) {
	t.Helper()
	check(t, c.server.StopImmediate(t.Context()))
	check(t, os.RemoveAll(c.data))
	copyFolder(t, c.dir+"/data", c.data)
	check(t, c.server.StartAgain(t.Context()))
}

// Start runs another server on the copy until the test ends.
func (c *Copy) Start(t testing.TB) *localpg.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	server, err := localpg.Start(ctx, localpg.Options{Dir: c.dir, Settings: throwAway(nil)})
	check(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return server
}

func newCopy(t testing.TB, server *localpg.Server) *Copy {
	t.Helper()
	c := &Copy{server: server}
	conn, err := pgx.Connect(t.Context(), server.DatabaseDSN("postgres"))
	check(t, err)
	check(t, conn.QueryRow(t.Context(), `SHOW data_directory`).Scan(&c.data))
	check(t, conn.Close(t.Context()))
	c.dir = folder(t)
	return c
}

// folder makes a temporary folder. It does not use t.TempDir, whose parent cannot be entered by the user
// that runs Postgres for root.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "culvert-copy-")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	if os.Geteuid() == 0 {
		check(t, os.Chmod(dir, 0o711)) //nolint:gosec // as localpg does for the same reason
	}
	return dir
}

// copyFolder copies a folder with owners and modes, which Postgres checks.
func copyFolder(t testing.TB, from, to string) {
	t.Helper()
	execProgram(t, "cp", "-a", from, to)
}

// copyInUse is copyFolder while the server runs, which removes and renames files meanwhile.
// It ignores missing files, as PostgreSQL's page on low-level base backups allows.
func copyInUse(t testing.TB, from, to string) {
	t.Helper()
	c := exec.Command("cp", "-a", from, to)
	c.Env = append(os.Environ(), "LC_ALL=C")
	out, err := c.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if !strings.HasSuffix(line, ": No such file or directory\n") {
			t.Fatalf("pgtest: cp: %v: %s", err, out)
		}
	}
	if err != nil && len(out) == 0 {
		t.Fatalf("pgtest: cp: %v", err)
	}
}

func execProgram(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("pgtest: %s: %v: %s", name, err, out)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
}
