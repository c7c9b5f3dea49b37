package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/registry"
)

// A managed server refuses functions that look at the write-ahead log or the cluster.
func TestAServerThatWithholdsFunctions(t *testing.T) {
	server := pgtest.NewServer(t, localpg.Options{})
	sql(t, server.DSN(), `CREATE ROLE ordinary LOGIN`, `GRANT CREATE ON DATABASE culvert TO ordinary`, `DO $$
		DECLARE f text;
		BEGIN
			FOR f IN SELECT p.oid::regprocedure FROM pg_proc p
			          WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^pg_(control_|current_wal|walfile_name|wal_lsn|last_wal|is_wal|get_wal)'
			LOOP
				EXECUTE 'REVOKE EXECUTE ON FUNCTION ' || f || ' FROM PUBLIC';
			END LOOP;
		END $$`)
	c, err := pgx.ParseConfig(server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	dsn := "host=" + c.Host + " port=5432 user=ordinary dbname=culvert"
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	q := open(t, dsn)
	before := appendOne(t, q, emit("r", "1")).Cursor
	stop(t, server)
	start(t, server)
	until(t, "emits are taken again", func() bool {
		r, err := q.Append(t.Context(), []event.Emit{emit("r", "2")})
		if err != nil && !errors.Is(err, event.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil && r[0].Cursor.Log == before.Log
	})
}

// A server that was behind may have staged events whose transactions have lower ids than those that an instance
// saw on another server: a membership change still comes after them.
func TestMembersChangeAfterWhatIsStagedOnAnotherServer(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, func(o *queue.Options) { o.Logger, o.Poll, o.PollOnly = slog.New(slog.DiscardHandler), time.Hour, true })
	appendOne(t, q, emit("r", "1"))
	for range 5 {
		sql(t, dsn, restarted, `INSERT INTO culvert.staged (xid, namespace, rooms, event, data) VALUES ('3', 'default', ARRAY['r'], 'e', '"sql"')`)
		at := must[event.Cursor](t)(q.Join(t.Context(), ns, room("r"), client("bob"), 0))
		appendOne(t, q, emit("r", "2"))
		b := must[event.Batch](t)(q.History(t.Context(), ns, room("r"), event.Client{}, at, 10))
		if len(b.Events) != 1 || b.Events[0].Data != "2" {
			t.Errorf("bob joined at %v, and gets %v, which was emitted before", at, b.Events[0].Cursor())
		}
		must[event.Cursor](t)(q.Leave(t.Context(), ns, room("r"), client("bob")))
	}
}

// A client that is not in the restored backup is stored again while it is connected: what comes after it has
// left is kept for it.
func TestAClientThatIsLostIsStoredAgain(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	bob := subscribe(t, q, queue.Interest{Client: client("bob")})
	appendOne(t, q, emit("*", "1"))
	next(t, bob, 1)
	sql(t, dsn, restarted, `DELETE FROM culvert.clients`)
	appendOne(t, q, emit("*", "2"))
	next(t, bob, 1)
	bob.Close()
	appendOne(t, q, emit("*", "3"))
	if got := next(t, subscribe(t, q, queue.Interest{Client: client("bob")}), 2); !slices.Equal(got, []string{"2", "3"}) {
		t.Errorf("bob gets %v", got)
	}
}

// It is also online at once, and not only when its lease would have been renewed.
func TestAClientThatIsLostIsOnlineAgain(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	conn := connect(t, dsn)
	leased := func(name string, after time.Time) (at time.Time) {
		t.Helper()
		until(t, name+" is online", func() bool {
			err := conn.QueryRow(t.Context(), `SELECT l.until - interval '30 s' FROM culvert.leases l JOIN culvert.clients c ON c.id = l.client_id
			 WHERE c.name = $1`, name).Scan(&at)
			return err == nil && at.After(after)
		})
		return at
	}
	bob, carol := subscribe(t, q, queue.Interest{Client: client("bob")}), subscribe(t, q, queue.Interest{Client: client("carol")})
	leased("bob", time.Time{})
	before := leased("carol", time.Time{})
	sql(t, dsn, `BEGIN; `+restarted+`; DELETE FROM culvert.clients WHERE name = 'bob'; COMMIT`)
	appendOne(t, q, emit("*", "1"))
	// All leases are written again; for bob's there is no client.
	renewed := leased("carol", before)
	next(t, bob, 1)
	if at := leased("bob", before); at.Sub(renewed) > 8*time.Second {
		t.Errorf("bob is online again after %v", at.Sub(renewed))
	}
	next(t, carol, 1)
}

// After a restore, a namespace may have a new id, and its old id may be that of another namespace that was
// deleted: the first one still exists. A namespace that was deleted itself does not, even if its name is used
// again.
func TestANamespaceWithAnotherIdIsNotDeleted(t *testing.T) {
	for name, c := range map[string]struct {
		born string // of the deleted namespace that has the id
		want error
	}{
		"another one": {`(SELECT max(first) + 1 FROM culvert.runs)`, nil},
		"the same":    {`born`, event.ErrDeleted},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := pgtest.Database(t)
			q := open(t, dsn)
			e := emit("r", "1")
			e.Namespace = namespace("tenant")
			appendOne(t, q, e)
			s, err := q.Subscribe(t.Context(), queue.Interest{Namespace: e.Namespace, Rooms: []event.Room{room("r")}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			sql(t, dsn, `BEGIN; `+restarted+`; SELECT culvert.lock_log();
				UPDATE culvert.namespaces SET name = NULL, deleted_at = clock_timestamp(), born = `+c.born+` WHERE name = 'tenant';
				INSERT INTO culvert.namespaces (name) VALUES ('tenant');
				SELECT culvert.registry_changed(); COMMIT`)
			must[bool](t)(q.Registry().PutNamespace(t.Context(), namespace("later"), registry.NamespaceSettings{})) // the registry is read
			appendOne(t, q, e)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if b, err := s.Next(ctx, 10); !errors.Is(err, c.want) || err == nil && (len(b.Events) != 1 || b.Gap != nil) {
				t.Errorf("got %d events, gap %v, %v", len(b.Events), b.Gap, err)
			}
		})
	}
}

// If a server takes over after the old one was asked what is staged, but before a membership change is stored,
// its own staged events come before the change.
func TestMembersChangeAfterWhatIsStagedOnAServerThatTakesOver(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, quiet, deaf)
	appendOne(t, q, emit("r", "1"))
	conn := connect(t, dsn)
	holder := connect(t, dsn)
	hold := func(sql string) {
		t.Helper()
		if _, err := holder.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 5 { // which call reaches the other server first is a matter of chance
		hold(`BEGIN; LOCK TABLE culvert.append_lock IN SHARE UPDATE EXCLUSIVE MODE`)
		joined := make(chan event.Cursor, 1)
		go func() {
			at, err := q.Join(t.Context(), ns, room("r"), client("bob"), 0)
			if err != nil {
				t.Error(err)
			}
			joined <- at
		}()
		waits := func(call string) {
			t.Helper()
			until(t, call+" waits for the append lock", func() bool {
				var n int
				err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
					WHERE l.relation = 'culvert.append_lock'::regclass AND NOT l.granted AND strpos(a.query, $1) > 0`, call).Scan(&n)
				return err == nil && n == 1
			})
		}
		waits("culvert.move")
		// An emit that has much to look up there gives the join a head start.
		e, emitted := emit("x", "0"), make(chan error, 1)
		for i := range 63 {
			e.Rooms = append(e.Rooms, room(fmt.Sprintf("x-%d-%d", round, i)))
		}
		go func() {
			_, err := q.Append(t.Context(), []event.Emit{e})
			emitted <- err
		}()
		waits("culvert.settle_offer")
		sql(t, dsn, restarted, `INSERT INTO culvert.staged (xid, namespace, rooms, event, data) VALUES ('3', 'default', ARRAY['r'], 'e', '"sql"')`)
		hold(`COMMIT`)
		at := receive(t, joined)
		if err := receive(t, emitted); err != nil {
			t.Fatal(err)
		}
		appendOne(t, q, emit("r", "2"))
		b := must[event.Batch](t)(q.History(t.Context(), ns, room("r"), event.Client{}, at, 10))
		if len(b.Events) != 1 || b.Events[0].Data != "2" {
			t.Errorf("bob joined at %v, and gets %d events, of %q first", at, len(b.Events), b.Events[0].Data)
		}
		must[event.Cursor](t)(q.Leave(t.Context(), ns, room("r"), client("bob")))
	}
}
