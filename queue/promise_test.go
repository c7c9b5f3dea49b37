package queue_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/registry"
)

// atCommit makes a trigger that runs a statement of PL/pgSQL when a transaction that
// changed rows of a table commits: after Postgres has sent the rows of RETURNING.
func atCommit(t testing.TB, dsn, table, statement string) {
	t.Helper()
	sql(t, dsn,
		`CREATE FUNCTION public.at_commit_of_`+table+`() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN `+statement+`; RETURN NULL; END $$`,
		`CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT OR UPDATE OR DELETE ON culvert.`+table+` DEFERRABLE INITIALLY DEFERRED
		 FOR EACH ROW EXECUTE FUNCTION public.at_commit_of_`+table+`()`)
}

// promise is a call that answers once something is stored.
type promise struct {
	what, table, op string // what it changes
	do              func() error
}

// promises returns all of them, in an order in which each one has something to do.
func promises(t testing.TB, q *queue.Queue) []promise {
	asked := event.Emit{
		Namespace: ns, Event: greeting, Rooms: []event.Room{event.Everyone()}, Data: data("1"),
		Reply: event.Ask{Timeout: time.Minute, Count: 3},
	}
	to := appendOne(t, q, asked).Cursor.Offset
	appendOne(t, q, emit("r", "1"))
	keyed := emit("r", "1")
	keyed.Key = key("k")
	apiKey := registry.APIKey{Label: "x"}
	other := mustParse(event.ParseNamespace, "other")
	ctx := t.Context()
	return []promise{
		{what: "append", table: "keys", op: "INSERT", do: func() error { _, err := q.Append(ctx, []event.Emit{keyed}); return err }},
		{what: "ack", table: "clients", op: "INSERT", do: func() error { _, err := q.Ack(ctx, ns, client("bob"), q.Head()); return err }},
		{what: "join", table: "memberships", op: "INSERT", do: func() error { _, err := q.Join(ctx, ns, room("r"), client("bob"), 0); return err }},
		{what: "leave", table: "memberships", op: "UPDATE", do: func() error { _, err := q.Leave(ctx, ns, room("r"), client("bob")); return err }},
		{what: "forget", table: "clients", op: "DELETE", do: func() error { return q.Forget(ctx, ns, client("bob")) }},
		{what: "subscribe", table: "clients", op: "INSERT", do: func() error {
			s, err := q.Subscribe(ctx, queue.Interest{Namespace: ns, Client: client("carol")})
			if err == nil {
				s.Close()
			}
			return err
		}},
		{what: "reply", table: "replies", op: "INSERT", do: func() error {
			again, err := q.Reply(ctx, queue.Reply{Namespace: ns, To: to, From: client("bob"), Data: data("1")})
			if again {
				t.Error("a reply that was not answered is stored")
			}
			return err
		}},
		{what: "create a key", table: "api_keys", op: "INSERT", do: func() error {
			k, token, err := q.Registry().CreateKey(ctx, apiKey)
			if err == nil {
				apiKey = k
			} else if token != "" {
				t.Error("a token of a key that is not stored")
			}
			return err
		}},
		{what: "rotate a key", table: "api_keys", op: "UPDATE", do: func() error { _, err := q.Registry().RotateKey(ctx, apiKey.ID, 0); return err }},
		{what: "revoke a key", table: "api_keys", op: "UPDATE", do: func() error { return q.Registry().RevokeKey(ctx, apiKey.ID) }},
		{what: "revoke a client", table: "registry", op: "UPDATE", do: func() error { return q.Registry().Revoke(ctx, ns, client("bob")) }},
		{what: "make a namespace", table: "registry", op: "UPDATE", do: func() error {
			_, err := q.Registry().PutNamespace(ctx, other, registry.NamespaceSettings{})
			return err
		}},
		{what: "delete a namespace", table: "registry", op: "UPDATE", do: func() error { return q.Registry().DeleteNamespace(ctx, other) }},
		{what: "register a handler", table: "handlers", op: "INSERT", do: func() error {
			return q.Handle(ns, "*", func(context.Context, *event.Event) (any, error) { return nil, nil })
		}},
	}
}

// No call succeeds if Postgres could not commit, and nothing of it is stored then.
func TestNothingIsAnsweredWhoseCommitFails(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, func(o *queue.Options) { o.Logger = slog.New(slog.DiscardHandler) })
	all := promises(t, q)
	sql(t, dsn, `CREATE TABLE public.failing ()`)
	for _, table := range []string{"keys", "clients", "memberships", "replies", "api_keys", "registry", "handlers"} {
		atCommit(t, dsn, table, `IF EXISTS (SELECT FROM public.failing) THEN RAISE EXCEPTION 'not this one'; END IF`)
	}
	for _, p := range all {
		sql(t, dsn, `INSERT INTO public.failing DEFAULT VALUES`)
		if err := p.do(); err == nil {
			t.Errorf("%s is answered, though it is not stored", p.what)
		}
		sql(t, dsn, `DELETE FROM public.failing`)
		if err := p.do(); err != nil {
			t.Errorf("%s, when it can be stored: %v", p.what, err)
		}
	}
}

// What is answered survives a crash of Postgres even if the database commits lazily by default. The test looks
// at the setting with which each transaction commits.
func TestAnswersAreDurableWhateverTheDefault(t *testing.T) {
	dsn := pgtest.Database(t)
	sql(t, dsn,
		`CREATE TABLE public.committed (setting text, changed text, op text)`,
		`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$`)
	for _, table := range []string{"keys", "clients", "memberships", "replies", "api_keys", "registry", "handlers", "handler_jobs"} {
		atCommit(t, dsn, table, `INSERT INTO public.committed VALUES (current_setting('synchronous_commit'), TG_TABLE_NAME, TG_OP)`)
	}
	conn := connect(t, dsn)
	var setting string
	if err := conn.QueryRow(t.Context(), `SHOW synchronous_commit`).Scan(&setting); err != nil || setting != "off" {
		t.Fatalf("the default is %q, %v", setting, err)
	}
	q := open(t, dsn)
	all := promises(t, q)
	settled := promise{what: "claim and settle", table: "handler_jobs", op: "DELETE", do: func() error {
		appendOne(t, q, emit("r", "1"))
		until(t, "the job is settled", func() bool {
			var done bool
			err := conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM public.committed WHERE changed = 'handler_jobs' AND op = 'DELETE')`).Scan(&done)
			return err == nil && done
		})
		return nil
	}}
	for _, p := range append(all, settled) {
		sql(t, dsn, `TRUNCATE public.committed`)
		if err := p.do(); err != nil {
			t.Fatalf("%s: %v", p.what, err)
		}
		var settings []string
		err := conn.QueryRow(t.Context(), `SELECT array_agg(DISTINCT setting) FROM public.committed WHERE changed = $1 AND op = $2`, p.table, p.op).Scan(&settings)
		if err != nil || strings.Join(settings, " ") != "on" {
			t.Errorf("%s commits with synchronous_commit %v, %v", p.what, settings, err)
		}
	}
	var lazy int
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM public.committed WHERE changed = 'handler_jobs' AND setting <> 'on'`).Scan(&lazy); err != nil || lazy > 0 {
		t.Errorf("%d changes of jobs were committed without waiting for the disk, %v", lazy, err)
	}
}
