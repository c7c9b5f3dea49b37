package localpg

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// write makes a file and the folders above it.
func write(t *testing.T, path, content string) {
	t.Helper()
	err := errors.Join(
		os.MkdirAll(filepath.Dir(path), 0o711),
		os.WriteFile(path, []byte(content), 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

// listing returns the names and sizes of what is in a folder, to check that nothing was changed.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			list = append(list, path+" "+info.Mode().String()+" "+info.ModTime().String())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, "\n")
}

func TestForeignFolderIsLeftAlone(t *testing.T) {
	for name, test := range map[string]struct{ file, says string }{
		"other things":      {"holiday.jpg", "holiday.jpg"},
		"a Postgres":        {"PG_VERSION", "another Postgres"},
		"things in data":    {"data/holiday.jpg", "holds other things"},
		"things beside run": {"run/holiday.jpg", "holds other things"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tempDir(t)
			write(t, filepath.Join(dir, test.file), "mine")
			before := listing(t, dir)
			_, err := Start(t.Context(), quick(dir))
			wantError(t, err, ErrForeign, dir, test.says)
			if after := listing(t, dir); after != before {
				t.Errorf("the folder changed from\n%s\nto\n%s", before, after)
			}
		})
	}
}

func TestDamagedDataIsLeftAlone(t *testing.T) {
	for name, test := range map[string]struct{ file, content, says string }{
		"no cluster":      {"base/1/1259", "rows", "not a Postgres cluster"},
		"a very old one":  {"PG_VERSION", "9.6\n", "9.6"},
		"an unknown file": {"PG_VERSION", "", "culvert cannot run"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tempDir(t)
			write(t, filepath.Join(dir, "lock"), "") // as after an earlier run
			data := filepath.Join(dir, "data")
			write(t, filepath.Join(data, test.file), test.content)
			before := listing(t, data)
			_, err := Start(t.Context(), quick(dir))
			wantError(t, err, ErrForeign, data, test.says)
			if after := listing(t, data); after != before {
				t.Errorf("the data changed from\n%s\nto\n%s", before, after)
			}
		})
	}
}

func TestClusterOfAnotherVersion(t *testing.T) {
	dir := tempDir(t)
	write(t, filepath.Join(dir, "data", "PG_VERSION"), "13\n")
	if os.Geteuid() == 0 { // a cluster belongs to the user that runs it
		a, err := chooseAccount("")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dir, "data", "PG_VERSION"), int(a.uid), int(a.gid)); err != nil {
			t.Fatal(err)
		}
	}
	opt := quick(dir)
	opt.search = systemSearch()
	opt.search.fetch = func(context.Context, int, func(string)) (string, error) {
		return "", errors.New("downloading failed")
	}
	before := listing(t, filepath.Join(dir, "data"))
	_, err := Start(t.Context(), opt)
	wantError(t, err, ErrNoBinaries, "version 13", "postgresql-13", "installed: ", "downloading failed", binariesVariable)
	if after := listing(t, filepath.Join(dir, "data")); after != before {
		t.Errorf("the data changed from\n%s\nto\n%s", before, after)
	}
}

func TestSecondHolderIsToldWhoHasIt(t *testing.T) {
	t.Parallel()
	s := mustStart(t, quick(tempDir(t)))
	_, err := Start(t.Context(), s.opt)
	wantError(t, err, ErrInUse, "process "+strconv.Itoa(os.Getpid()), "--database-url '"+s.DSN()+"'")
	if got := ask(t, s.DSN(), `SELECT 'up'`); got != "up" {
		t.Errorf("the holder answers %q", got)
	}
}

func TestHalfMadeClusterIsMadeAgain(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	write(t, filepath.Join(dir, "lock"), "")
	write(t, filepath.Join(dir, "initdb-tmp", "PG_VERSION"), "15\n")
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil { // an empty folder is accepted
		t.Fatal(err)
	}
	s := mustStart(t, quick(dir))
	if got := ask(t, s.DSN(), `SELECT 'up'`); got != "up" {
		t.Errorf("Postgres answers %q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "initdb-tmp")); !os.IsNotExist(err) {
		t.Errorf("initdb-tmp is still there: %v", err)
	}
}

func TestMissingDatabaseIsMadeAtTheNextStart(t *testing.T) {
	t.Parallel()
	s := mustStart(t, quick(tempDir(t)))
	if _, err := tryAsk(t.Context(), s.DatabaseDSN("postgres"), `DROP DATABASE culvert`); err == nil {
		t.Fatal("DROP DATABASE returned a row")
	}
	mustStop(t, s)
	if got := ask(t, mustStart(t, s.opt).DSN(), `SELECT current_database()`); got != "culvert" {
		t.Errorf("database is %q", got)
	}
}

func TestLongPathsHaveTheirSocketElsewhere(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(tempDir(t), strings.Repeat("long", 30))
	s := mustStart(t, quick(dir))
	if !strings.HasPrefix(s.sockets, os.TempDir()) && !strings.HasPrefix(s.sockets, "/tmp") {
		t.Errorf("socket is in %s", s.sockets)
	}
	if got := ask(t, s.DSN(), `SELECT 'up'`); got != "up" {
		t.Errorf("Postgres answers %q", got)
	}
	mustStop(t, s)
	if _, err := os.Stat(s.sockets); !os.IsNotExist(err) {
		t.Errorf("the socket folder is left: %v", err)
	}
}

func TestSocketFolder(t *testing.T) {
	t.Setenv("TMPDIR", "/tmp")
	for dir, beside := range map[string]bool{
		"/srv/culvert":                    true,
		"/srv/" + strings.Repeat("x", 79): true,  // 103 bytes with /run/.s.PGSQL.5432
		"/srv/" + strings.Repeat("x", 82): false, // one of the lengths that no longer fit
		"/srv/a,b":                        false,
	} {
		got := folder(dir).socketFolder()
		if (got == dir+"/run") != beside {
			t.Errorf("%s: socket in %s", dir, got)
		}
		if !fitsSocket(got) {
			t.Errorf("%s: %s does not fit", dir, got)
		}
	}
}
