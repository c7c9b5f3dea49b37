package cmd

import (
	"strings"
	"testing"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
)

// Behind a transaction pooler, a server whose schema is up to date starts, works, and says that it polls and
// why. A server that has to migrate says what it needs.
func TestServeThroughATransactionPooler(t *testing.T) {
	dsn := pgtest.Database(t)
	pooled := pgtest.Pooled(t, dsn)
	env := []string{"DATABASE_URL=" + pooled, "CULVERT_API_KEYS=the-configured-key"}
	for _, args := range [][]string{serveArgs(t.TempDir()), {"migrate", "up"}} {
		if code, _, stderr := run(t, "", env, args...); code != exitFailure || !strings.Contains(stderr, "--listen-database-url") || strings.Contains(stderr, "ready") {
			t.Errorf("%s without a schema: %d, %s", args[0], code, stderr)
		}
	}
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	s := start(t, env, serveArgs(t.TempDir(), "--log-format=text")...)
	url := s.stderr.await(t, `(?m)^ready (http://\S+)$`)
	s.stderr.await(t, "notifications do not arrive.*--listen-database-url.*--poll-only")
	client := []string{"CULVERT_URL=" + url, "CULVERT_TOKEN=the-configured-key"}
	listener := start(t, client, "listen", "--client", "alice")
	for listener.stdout.String() == "" {
		must(t, "", client, "emit", "--room", "@alice", "--event", "greeting", `"5 €"`)
	}
	listener.stdout.await(t, "5 €")
	if got := s.stderr.String(); strings.Contains(got, "level=ERROR") || strings.Contains(got, "stmtcache") {
		t.Errorf("the log says\n%s", got)
	}
}
