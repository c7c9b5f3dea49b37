package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRefusals: a server that cannot start says why and what to do, in one line.
func TestRefusals(t *testing.T) {
	data := dataFolder(t)
	s := serve(t, data)
	busy := strings.TrimPrefix(s.url, "http://")
	file := write(t, "")
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"port in use":   {serveArgs(t.TempDir(), "--listen", busy), []string{busy, "another program", "--listen"}},
		"admin port":    {serveArgs(t.TempDir(), "--admin-listen", busy), []string{busy, "another program", "--admin-listen"}},
		"no such host":  {serveArgs(t.TempDir(), "--listen=192.0.2.1:80"), []string{"192.0.2.1:80", "--listen"}},
		"folder in use": {serveArgs(data), []string{"in use", "--database-url", fmt.Sprint(os.Getpid())}},
		"data is file":  {serveArgs(filepath.Join(file, "x")), []string{"not a directory", "--data"}},
		"bad setting":   {serveArgs(t.TempDir(), "--heartbeat=soon"), []string{"heartbeat", "flag --heartbeat"}},
		"no such database": {
			serveArgs(t.TempDir(), "--database-url=postgres:///none?user=culvert&password=hunter2&host="+socketFolder(t, s)),
			[]string{"cannot use the database", `"none" does not exist`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := run(t, "", nil, c.args...)
			if code != exitFailure || strings.Count(stderr, "\n") != 1 || strings.Contains(stderr, "hunter2") {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			for _, want := range c.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("%q does not say %q", stderr, want)
				}
			}
		})
	}
}

// socketFolder returns where the server's private Postgres listens, from the DSN that the server printed.
func socketFolder(t *testing.T, s *program) string {
	t.Helper()
	return s.stderr.await(t, `psql 'postgres:///culvert\?host=([^&']+)`)
}
