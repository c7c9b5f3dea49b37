package pgtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/culvertmq/culvert/internal/localpg"
)

// programs is a folder with the programs of one version of Postgres.
type programs struct {
	dir   string
	major int
}

func (p programs) has(names ...string) bool {
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(p.dir, name)); err != nil {
			return false
		}
	}
	return true
}

// Upgrade upgrades a server from one version of Postgres to a later one by pg_upgrade.
type Upgrade struct{ from, to programs }

// FindUpgrade finds two versions of Postgres, the later one with pg_upgrade, or skips the test.
// The older one is that of CULVERT_PG_BIN, if it is set.
func FindUpgrade(t testing.TB) Upgrade {
	t.Helper()
	all := installed(t)
	older := all
	if chosen := os.Getenv("CULVERT_PG_BIN"); chosen != "" {
		older = nil
		if p, ok := version(t, chosen); ok {
			older = append(older, p)
		}
	}
	for _, to := range all {
		if !to.has("pg_upgrade", "pg_dump", "pg_dumpall", "pg_restore", "psql", "vacuumdb", "pg_controldata", "pg_resetwal") {
			continue
		}
		for _, from := range older {
			if from.major < to.major {
				return Upgrade{from, to}
			}
		}
	}
	t.Skip("there are not two versions of Postgres, the later one with pg_upgrade: an upgrade was NOT tested")
	return Upgrade{}
}

// installed returns the versions that the system has, and those that scripts/postgres-versions fetched.
func installed(t testing.TB) (all []programs) {
	t.Helper()
	cache := os.Getenv("CULVERT_PG_CACHE")
	if cache == "" {
		caches := "/var/cache" // see scripts/postgres-versions
		if os.Geteuid() != 0 {
			caches, _ = os.UserCacheDir()
		}
		cache = filepath.Join(caches, "culvert-postgres")
	}
	for _, pattern := range []string{
		cache + "/node_modules/postgres-*/native/bin",
		"/usr/lib/postgresql/*/bin", "/usr/libexec/postgresql*", "/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin",
	} {
		dirs, err := filepath.Glob(pattern)
		check(t, err)
		for _, dir := range dirs {
			if p, ok := version(t, dir); ok {
				all = append(all, p)
			}
		}
	}
	return all
}

func version(t testing.TB, dir string) (p programs, ok bool) {
	t.Helper()
	p.dir = dir
	if !p.has("postgres", "initdb", "pg_ctl") {
		return p, false
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output() //nolint:gosec // folders of programs
	check(t, err)
	words := strings.Fields(string(out)) // postgres (PostgreSQL) 15.3 (Debian …)
	major, _, _ := strings.Cut(words[2], ".")
	p.major, err = strconv.Atoi(major)
	return p, err == nil
}

// Server runs a server of the older version, for only one test.
func (u Upgrade) Server(t testing.TB) *localpg.Server {
	t.Helper()
	Server() // which is not of this version
	t.Setenv("CULVERT_PG_BIN", u.from.dir)
	return (&Copy{dir: folder(t)}).Start(t) // not one whose folder goes when it stops
}

// Run stops a server of the older version, upgrades its data with pg_upgrade, and starts a server of
// the later version on the result.
func (u Upgrade) Run(t testing.TB, server *localpg.Server) *localpg.Server {
	t.Helper()
	old := newCopy(t, server)
	check(t, server.Stop(t.Context()))
	dir := old.dir // "data" in it is the new cluster
	owner := ownerOf(t, filepath.Join(old.data, "PG_VERSION"))
	if owner != nil {
		check(t, os.Chown(dir, int(owner.Uid), int(owner.Gid)))
	}
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("pgtest: %s: %v: %s", name, err, out)
		}
	}
	run(u.to.dir+"/initdb", "-D", dir+"/data", "--username=culvert", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	run(u.to.dir+"/pg_upgrade", "--old-bindir="+u.oldPrograms(t, dir), "--new-bindir="+u.to.dir,
		"--old-datadir="+old.data, "--new-datadir="+dir+"/data", "--username=culvert", "--old-port=50432", "--new-port=50433")
	t.Setenv("CULVERT_PG_BIN", u.to.dir)
	return old.Start(t)
}

// oldPrograms returns a folder with the programs of the older version that pg_upgrade needs. The packages that
// scripts/postgres-versions fetches have no pg_controldata and pg_resetwal. Those of the
// later version can replace them if PG_VERSION names their own version meanwhile.
func (u Upgrade) oldPrograms(t testing.TB, dir string) string {
	t.Helper()
	if u.from.has("pg_controldata", "pg_resetwal") {
		return u.from.dir
	}
	bin := filepath.Join(dir, "old-bin")
	check(t, os.Mkdir(bin, 0o755)) //nolint:gosec // for the user Postgres runs as
	for _, name := range []string{"pg_ctl", "postgres"} {
		script := fmt.Sprintf("#!/bin/sh\nexec '%s/%s' \"$@\"\n", u.from.dir, name)
		check(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755)) //nolint:gosec // likewise
	}
	check(t, os.Symlink(filepath.Join(u.to.dir, "pg_controldata"), filepath.Join(bin, "pg_controldata")))
	script := fmt.Sprintf(`#!/bin/sh
# pg_resetwal -n FOLDER, or -V
set -e
[ "$1" = -n ] || exec '%[3]s/pg_resetwal' "$@"
copy=$(mktemp -d '%[1]s/control-XXXXXX')
mkdir "$copy/global" "$copy/pg_wal"
cp "$2/global/pg_control" "$copy/global/"
echo %[2]d > "$copy/PG_VERSION"
chmod 700 "$copy"
exec '%[3]s/pg_resetwal' -n "$copy"
`, dir, u.to.major, u.to.dir)
	check(t, os.WriteFile(filepath.Join(bin, "pg_resetwal"), []byte(script), 0o755)) //nolint:gosec // likewise
	return bin
}

// ownerOf returns the owner of a file, as which root runs programs; nil for other users.
func ownerOf(t testing.TB, path string) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(path)
	check(t, err)
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		check(t, errors.New("the owner of a file is unknown: "+fs.FormatFileInfo(info)))
	}
	return &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}
}
