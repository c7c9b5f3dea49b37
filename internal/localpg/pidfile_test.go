package localpg

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// stalePidfile writes pid into the pid file of a cluster that does not run.
func stalePidfile(t *testing.T, s *Server, pid int) {
	t.Helper()
	file := filepath.Join(s.folder.data(), "postmaster.pid")
	content := fmt.Sprintf("%d\n%s\n1700000000\n5432\n%s\n\n  4194306    65536\nready   \n", pid, s.folder.data(), s.sockets)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, int(s.account.uid), int(s.account.gid)); err != nil && s.account.other() {
		t.Fatal(err)
	}
}

func TestStalePidFile(t *testing.T) {
	s := mustStart(t, quick(tempDir(t)))
	keep(t, s.DSN())
	mustStop(t, s)
	for name, pid := range map[string]func(t *testing.T) int{
		"of nobody": func(t *testing.T) int {
			gone := anyProcess(t, s.account)
			if err := gone.abort(); err != nil {
				t.Fatal(err)
			}
			return gone.pid
		},
		// With this one Postgres would refuse to start: it takes the process for a postmaster.
		"of an unrelated process of the same user": func(t *testing.T) int { return anyProcess(t, s.account).pid },
		"of an unrelated process of another user":  func(*testing.T) int { return 1 },
	} {
		t.Run(name, func(t *testing.T) {
			stalePidfile(t, s, pid(t))
			remember(t, mustStart(t, s.opt).DSN())
		})
	}
}

func TestReadPidfile(t *testing.T) {
	for content, want := range map[string]pidfile{
		"":      {},
		"\n":    {},
		"abc\n": {},
		"-7\n":  {}, // single-user mode
		"42\n":  {pid: 42},
		"42\n/d\n1\n5432\n/run\n\n 1 2\nstarting\n": {pid: 42},
		"42\n/d\n1\n5432\n/run\n\n 1 2\nready   \n": {pid: 42, ready: true},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "postmaster.pid"), content)
		if got, err := readPidfile(dir); got != want || err != nil {
			t.Errorf("%q: got %+v %v, want %+v", content, got, err, want)
		}
	}
	if got, err := readPidfile(t.TempDir()); got != (pidfile{}) || err != nil {
		t.Errorf("no file: %+v %v", got, err)
	}
}
