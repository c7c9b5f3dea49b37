package queue_test

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
)

// safeBuffer is a log that the test reads while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func logTo(s *safeBuffer) func(*queue.Options) {
	return func(o *queue.Options) { o.Logger = slog.New(slog.NewTextHandler(s, nil)) }
}

// Through PgBouncer in transaction mode everything works, whatever the URL says about
// statements: two instances, one of which listens on a direct connection.
func TestThroughPgBouncer(t *testing.T) {
	for name, mode := range map[string]string{"default": "", "exec": "exec", "simple": "simple_protocol"} {
		t.Run(name, func(t *testing.T) {
			dsn := pgtest.Database(t)
			pooled := inMode(pgtest.Pooled(t, dsn), mode)
			var log safeBuffer
			alone := open(t, pooled, logTo(&log))
			if got := log.String(); !strings.Contains(got, "--listen-database-url") || !strings.Contains(got, "--poll-only") || !strings.Contains(got, "poll=100ms") {
				t.Errorf("without a direct connection the log says\n%s", got)
			}
			other := open(t, pooled, func(o *queue.Options) { o.ListenURL = dsn })
			s := subscribe(t, other, queue.Interest{Rooms: []event.Room{room("lobby")}})
			appendOne(t, alone, emit("lobby", "1"))
			if got := next(t, s, 1); got[0] != "1" {
				t.Errorf("the reader received %q", got)
			}
			for range 2 {
				use(t, other, connect(t, dsn))
				use(t, alone, connect(t, dsn))
			}
		})
	}
}

// Settings that PgBouncer does not pass on are refused by name, if they matter.
func TestSettingsThroughPgBouncer(t *testing.T) {
	for _, h := range hostile {
		t.Run(h.name+" "+h.value, func(t *testing.T) {
			t.Parallel()
			if h.name == "idle_session_timeout" {
				t.Skip("it ends PgBouncer's own sessions, and then nothing works")
			}
			dsn := pgtest.Database(t) // PgBouncer has no sessions in it yet
			pooled := pgtest.Pooled(t, dsn)
			if !alter(t, connect(t, calm(t, dsn)), h.name, h.value) {
				t.Skip("this version of Postgres does not have it")
			}
			q, err := queue.Open(t.Context(), queue.Options{DatabaseURL: pooled, ListenURL: dsn, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				if !strings.Contains(err.Error(), "ALTER ROLE") || !strings.Contains(err.Error(), h.name) {
					t.Errorf("the error does not name the setting: %v", err)
				}
				return
			}
			defer func() {
				if err := q.Close(context.Background()); err != nil {
					t.Error(err)
				}
			}()
			use(t, q, connect(t, calm(t, dsn)))
		})
	}
}

// Migrations need the lock of a session: through a pooler they are refused before they begin.
func TestNoMigrationThroughATransactionPooler(t *testing.T) {
	dsn := pgtest.Database(t)
	sql(t, dsn, `DROP SCHEMA culvert CASCADE`)
	err := migrations.Up(t.Context(), pgtest.Pooled(t, dsn))
	if err == nil || !strings.Contains(err.Error(), "--listen-database-url") {
		t.Errorf("the error is %v", err)
	}
	var there bool
	if err := connect(t, dsn).QueryRow(t.Context(), `SELECT to_regnamespace('culvert') IS NOT NULL`).Scan(&there); err != nil || there {
		t.Errorf("the schema is there: %v, %v", there, err)
	}
}

// If the connection that listens cannot be made, that is logged, and it is made later.
func TestAListenURLThatLeadsNowhere(t *testing.T) {
	dsn := pgtest.Database(t)
	var log safeBuffer
	q := open(t, dsn, logTo(&log), func(o *queue.Options) { o.ListenURL = "postgres://nobody@127.0.0.1:1/none?connect_timeout=1" })
	if got := log.String(); !strings.Contains(got, "cannot listen for notifications") {
		t.Errorf("the log says\n%s", got)
	}
	s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}})
	sql(t, dsn, `SELECT culvert.emit(room => 'r', event => 'e')`)
	next(t, s, 1)
}

// A pooler is recognised even while others keep it busy: if it were not, named statements would be used, and
// fail at random.
func TestABusyPoolerIsRecognised(t *testing.T) {
	pooled := pgtest.Pooled(t, pgtest.Database(t))
	ctx, cancel := context.WithCancel(t.Context())
	var others sync.WaitGroup
	for range 3 {
		others.Go(func() {
			conn := must[*pgx.Conn](t)(pgx.Connect(t.Context(), inMode(pooled, "simple_protocol")))
			defer conn.Close(context.WithoutCancel(ctx))
			for ctx.Err() == nil {
				if _, err := conn.Exec(t.Context(), `SELECT 1`); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Duration(rand.N(2000)) * time.Microsecond)
			}
		})
	}
	for range 60 {
		c := must[*pgx.ConnConfig](t)(pgx.ParseConfig(pooled))
		if server := must[postgres.Server](t)(postgres.Prepare(t.Context(), c)); !server.Transactions {
			t.Error("a pooler that others use is taken for a direct connection")
		}
	}
	cancel()
	others.Wait()
}
