package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
)

// A role without any right on Culvert's tables stops nothing: no lock that it can take makes others wait or
// give up. Here it holds every advisory lock that Culvert ever used, and the locks that PREPARE takes before
// Postgres checks the role's rights.
func TestStrangersStopNothing(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, func(o *queue.Options) { o.Poll = time.Hour })
	s := subscribe(t, q, queue.Interest{Client: client("bob")})
	role := fmt.Sprint("stranger_", time.Now().UnixNano())
	sql(t, dsn, `CREATE ROLE `+role, `GRANT USAGE ON SCHEMA culvert TO `+role)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		conn := must[*pgx.Conn](t)(pgx.Connect(ctx, dsn))
		defer conn.Close(ctx)
		must[pgconn.CommandTag](t)(conn.Exec(ctx, `DROP OWNED BY `+role+`; DROP ROLE `+role))
	})
	stranger := connect(t, dsn) // closing it releases its locks
	execute(t, stranger, `SET ROLE `+role)
	if _, err := stranger.Exec(t.Context(), `LOCK TABLE culvert.append_lock IN ACCESS SHARE MODE`); err == nil {
		t.Error("a role without rights locks a table")
	}
	for _, stmt := range []string{
		`BEGIN`,
		`SELECT pg_advisory_lock_shared(1668639862, n) FROM generate_series(0, 40) n`,
		`SELECT pg_advisory_lock_shared(4097083626)`, // goose's
		`PREPARE a AS INSERT INTO culvert.append_lock DEFAULT VALUES`,
		`PREPARE b AS INSERT INTO culvert.volatile_lock DEFAULT VALUES`,
		`PREPARE c AS UPDATE culvert.turns SET n = n`,
		`PREPARE d AS INSERT INTO culvert.migration_lock DEFAULT VALUES`,
		`PREPARE e AS UPDATE culvert.functions SET digest = digest`,
	} {
		if _, err := stranger.Exec(t.Context(), stmt); err != nil {
			t.Fatalf("%s: %v", stmt, err)
		}
	}

	heard := connect(t, dsn)
	execute(t, heard, `LISTEN culvert`)
	sql(t, dsn, `SELECT culvert.emit(room => '*', event => 'e', data => '"by SQL"')`)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for n := must[*pgconn.Notification](t)(heard.WaitForNotification(ctx)); n.Payload != "staged"; {
		n = must[*pgconn.Notification](t)(heard.WaitForNotification(ctx))
	}
	if got := patient(t, s, 1); got[0] != `"by SQL"` {
		t.Errorf("got %v", got)
	}
	appendOne(t, q, emit("*", "1"))
	if got := patient(t, s, 1); got[0] != "1" {
		t.Errorf("got %v", got)
	}
	if err := q.PublishVolatile(ctx, []event.Emit{emit("*", "2")}); err != nil {
		t.Error("volatile events:", err)
	}
	if _, err := q.Join(ctx, ns, room("r"), client("bob"), 0); err != nil {
		t.Error("joins:", err)
	}
	if err := migrations.Up(ctx, dsn); err != nil {
		t.Error("the start of an instance:", err)
	}
	sql(t, dsn, `INSERT INTO culvert.leases SELECT c.id, 'dead', now() - interval '1 hour' FROM culvert.clients c WHERE c.name = 'bob'`)
	conn := connect(t, dsn)
	var ended, pruned *int
	execute(t, conn, `SELECT culvert.rotate('0 s', 1)`)
	err := conn.QueryRow(ctx, `SELECT culvert.expire_leases(), culvert.prune('0 s', 0)`).Scan(&ended, &pruned)
	if err != nil || ended == nil || *ended != 1 || pruned == nil {
		t.Errorf("leases ended %v, slice pruned %v, %v", ended, pruned, err)
	}
	if err := q.Registry().DeleteNamespace(ctx, ns); err != nil {
		t.Error("deleting a namespace:", err)
	}
}

// Once there are grants, a role may emit only where a row allows it, and with another sender only where the row
// says so. Without any grants, EXECUTE on the function is enough, as before.
func TestGrantsOfEmit(t *testing.T) {
	dsn := pgtest.Database(t)
	open(t, dsn)
	suffix := fmt.Sprint(time.Now().UnixNano())
	shop, team, owner := "shop_"+suffix, "team_"+suffix, "owner_"+suffix
	sql(t, dsn, `CREATE ROLE `+shop, `CREATE ROLE `+team, `CREATE ROLE `+owner, `GRANT `+team+` TO `+shop,
		`GRANT USAGE ON SCHEMA culvert TO PUBLIC`, `GRANT EXECUTE ON FUNCTION culvert.emit TO PUBLIC`)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		conn := must[*pgx.Conn](t)(pgx.Connect(ctx, dsn))
		defer conn.Close(ctx)
		must[pgconn.CommandTag](t)(conn.Exec(ctx, `DROP ROLE `+shop+`, `+team+`, `+owner))
	})
	conn := connect(t, dsn)
	emits := func(role, args string, want bool) {
		t.Helper()
		execute(t, conn, `BEGIN; SET LOCAL ROLE `+role)
		_, err := conn.Exec(t.Context(), `SELECT culvert.emit(room => 'r', event => 'e', `+args+`)`)
		var pg *pgconn.PgError
		if refused := errors.As(err, &pg) && pg.Code == "42501"; refused == want || err != nil && !refused {
			t.Errorf("%s, %s: %v", role, args, err)
		}
		execute(t, conn, `ROLLBACK`)
	}
	emits(shop, `namespace => 'tenant-a', sender => 'alice'`, true)
	sql(t, dsn, `INSERT INTO culvert.emit_grants VALUES ('`+team+`', 'tenant-*', false), ('`+shop+`', 'orders', true), ('nobody_there', '*', true)`)
	emits(shop, `namespace => 'tenant-a'`, true)
	emits(shop, `namespace => 'tenant-a', sender => 'alice'`, false)
	emits(shop, `namespace => 'orders', sender => 'alice'`, true)
	emits(team, `namespace => 'orders'`, false)
	emits(shop, `namespace => 'default'`, false)
	emits(owner, `namespace => 'tenant-a'`, false)
	emits(`NONE`, `namespace => 'default', sender => 'alice'`, true) // the owner of the schema
	sql(t, dsn, `INSERT INTO culvert.emit_grants VALUES ('public', 'default', false)`)
	emits(owner, `namespace => 'default'`, true)
	if _, err := conn.Exec(t.Context(), `SELECT culvert.emit(room => 'r', event => 'e', sender => 'me')`); err == nil {
		t.Error("a sender called me is accepted")
	}
}

// A client called "me" would be the caller in every address.
func TestNobodyIsCalledMe(t *testing.T) {
	if _, err := event.ParseClient("me"); err == nil {
		t.Error("me is accepted as a client's name")
	}
	if _, err := event.ParseClient("Me"); err != nil {
		t.Error(err)
	}
}

// Culvert never calls functions that others have created in public, even if it is first in the search path, as
// here (CVE-2018-1058).
func TestFunctionsOfOthersAreNotCalled(t *testing.T) {
	dsn := pgtest.Database(t)
	sql(t, dsn, `GRANT CREATE ON SCHEMA public TO PUBLIC`,
		`CREATE TABLE public.taken (who text); GRANT ALL ON public.taken TO PUBLIC`,
		`CREATE FUNCTION public.cardinality(text[]) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.taken VALUES (current_user); RETURN 1; END $$`,
		`CREATE FUNCTION public.octet_length(varchar) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.taken VALUES (current_user); RETURN 1; END $$`,
		`CREATE FUNCTION public.matches(text[], text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.taken VALUES (current_user); RETURN true; END $$`,
		`DO $do$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); END $do$`)
	q := open(t, dsn)
	appendOne(t, q, emit("r", "1"))
	sql(t, dsn, `SELECT culvert.emit(rooms => ARRAY['a','b'], event => 'e', key => 'k')`)
	appendOne(t, q, emit("r", "2"))
	if _, err := q.Join(t.Context(), ns, room("r"), client("bob"), 0); err != nil {
		t.Fatal(err)
	}
	subscribe(t, q, queue.Interest{Client: client("bob")})
	var n int
	if err := connect(t, dsn).QueryRow(t.Context(), `SELECT count(*) FROM public.taken`).Scan(&n); err != nil || n != 0 {
		t.Errorf("taken %d %v", n, err)
	}
}

// Postgres lets a role that may use the schema wait for a lock that it would be refused, and everybody else
// waits behind it. Only ending the session helps: the log says which one.
func TestTheLogNamesWhoBlocks(t *testing.T) {
	dsn := pgtest.Database(t)
	var logged lines
	q := open(t, dsn, func(o *queue.Options) {
		o.Logger = slog.New(slog.NewTextHandler(&logged, nil))
		o.AppendTimeout = 300 * time.Millisecond
	})
	ctx := context.WithoutCancel(t.Context())
	role := fmt.Sprint("blocker_", time.Now().UnixNano())
	sql(t, dsn, `CREATE ROLE `+role+` LOGIN`, `GRANT USAGE ON SCHEMA culvert TO `+role)
	t.Cleanup(func() {
		conn := must[*pgx.Conn](t)(pgx.Connect(ctx, dsn))
		defer conn.Close(ctx)
		must[pgconn.CommandTag](t)(conn.Exec(ctx, `DROP OWNED BY `+role+`; DROP ROLE `+role))
	})
	login := must[*pgx.ConnConfig](t)(pgx.ParseConfig(dsn))
	login.User = role
	holder, waiter := must[*pgx.Conn](t)(pgx.ConnectConfig(ctx, login)), must[*pgx.Conn](t)(pgx.ConnectConfig(ctx, login))
	execute(t, holder, `BEGIN; PREPARE held AS SELECT FROM culvert.log`) // holds the table's lock without the right to read it
	waits := make(chan error, 1)
	go func() {
		_, err := waiter.Exec(ctx, `CREATE RULE r AS ON INSERT TO culvert.log DO NOTHING`)
		waits <- err
	}()
	t.Cleanup(func() {
		_ = holder.Close(ctx)
		var refused *pgconn.PgError
		if err := <-waits; !errors.As(err, &refused) || refused.Code != "42501" { // insufficient_privilege
			t.Errorf("the rule: %v", err)
		}
		_ = waiter.Close(ctx)
	})
	who := fmt.Sprintf("%d (%s)", waiter.PgConn().PID(), role)
	until(t, "an emit waits behind it", func() bool {
		_, err := q.Append(ctx, []event.Emit{emit("r", "1")})
		return errors.Is(err, event.ErrUnavailable)
	})
	if !strings.Contains(logged.String(), `behind="`+who+`"`) {
		t.Errorf("%s is not named in\n%s", who, logged.String())
	}
}
