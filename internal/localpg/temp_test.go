package localpg

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestThrowAwayClusterIsRemoved(t *testing.T) {
	t.Parallel()
	s, err := StartTemp(t.Context(), quick(""))
	if err != nil {
		t.Fatal(err)
	}
	defer mustStop(t, s)
	if got := ask(t, s.DSN(), `SELECT 'up'`); got != "up" {
		t.Errorf("Postgres answers %q", got)
	}
	dir := string(s.folder)
	mustStop(t, s)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", dir, err)
	}
}

func TestFailedThrowAwayClusterIsRemoved(t *testing.T) {
	t.Setenv("TMPDIR", tempDir(t))
	opt := quick("")
	opt.Settings["no_such_setting"] = "on"
	if _, err := StartTemp(t.Context(), opt); err == nil {
		t.Fatal("started")
	}
	if left, err := os.ReadDir(os.TempDir()); len(left) > 0 || err != nil {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestSweep(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		age   time.Duration
		locks bool
		swept bool
	}{
		"left behind": {2 * time.Hour, false, true},
		"fresh":       {time.Minute, false, false},
		"in use":      {2 * time.Hour, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(filepath.Join(t.TempDir(), "throwaway"))
			write(t, filepath.Join(dir.data(), "PG_VERSION"), "15\n")
			write(t, dir.lock(), "")
			if test.locks {
				held, err := acquire(t.Context(), dir.lock(), 0)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = held.release() }()
			}
			if err := os.Chtimes(dir.lock(), now.Add(-test.age), now.Add(-test.age)); err != nil {
				t.Fatal(err)
			}
			sweep(t.Context(), dir, now.Add(-tempAge))
			if _, err := os.Stat(string(dir)); os.IsNotExist(err) != test.swept {
				t.Errorf("swept: %v, want %v", os.IsNotExist(err), test.swept)
			}
		})
	}
}
