package queue_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// ownPool returns the pool of an application, which says how to connect.
func ownPool(t testing.TB, dsn string, change ...func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	c := must[*pgxpool.Config](t)(pgxpool.ParseConfig(dsn))
	c.MaxConns = 4
	c.ConnConfig.RuntimeParams["application_name"] = "shop"
	for _, f := range change {
		f(c)
	}
	p := must[*pgxpool.Pool](t)(pgxpool.NewWithConfig(t.Context(), c))
	t.Cleanup(p.Close)
	return p
}

// busyPool returns a pool all of whose connections the application holds until the test ends.
func busyPool(t testing.TB, dsn string, change ...func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	p := ownPool(t, dsn, change...)
	for range p.Config().MaxConns {
		c := must[*pgxpool.Conn](t)(p.Acquire(t.Context()))
		t.Cleanup(c.Release) // before the pool is closed
	}
	return p
}

func withPool(p *pgxpool.Pool) func(*queue.Options) {
	return func(o *queue.Options) { o.DatabaseURL, o.ListenURL, o.Pool = "", "", p }
}

// If the application holds all connections of its pool, Culvert still listens, delivers, and stores. It uses no
// connection of the pool, and closing it closes none of them.
func TestAPoolOfTheApplication(t *testing.T) {
	dsn := pgtest.Database(t)
	p := ownPool(t, dsn)
	q := must[*queue.Queue](t)(queue.Open(t.Context(), queue.Options{Pool: p}))
	var held []*pgxpool.Conn
	for range p.Config().MaxConns {
		held = append(held, must[*pgxpool.Conn](t)(p.Acquire(t.Context())))
	}
	s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}})
	appendOne(t, q, emit("r", "1"))
	if _, err := held[0].Exec(t.Context(), `SELECT culvert.emit(room => 'r', event => 'e', data => '2')`); err != nil {
		t.Fatal(err)
	}
	if got := next(t, s, 2); got[0] != "1" || got[1] != "2" {
		t.Errorf("the reader received %q", got)
	}
	must[event.Cursor](t)(q.Ack(t.Context(), ns, client("bob"), q.Head()))
	if err := q.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for _, c := range held {
		if err := c.Ping(t.Context()); err != nil {
			t.Error("a connection of the application:", err)
		}
		c.Release()
	}
	if n := p.Stat().NewConnsCount(); n != 4 {
		t.Errorf("the pool has made %d connections, want the application's 4", n)
	}
	if err := p.Ping(t.Context()); err != nil {
		t.Error("the pool was closed:", err)
	}
}

// Every connection is made as the application's are, also the first ones and the one that listens: here only
// BeforeConnect knows the database. What the pool does with its connections later is not done with Culvert's.
func TestThePoolsHooks(t *testing.T) {
	dsn := pgtest.Database(t)
	database := must[*pgx.ConnConfig](t)(pgx.ParseConfig(dsn)).Database
	var before, after atomic.Int64
	p := ownPool(t, dsn, func(c *pgxpool.Config) {
		c.ConnConfig.Database = "nowhere"
		c.ConnConfig.DescriptionCacheCapacity = 0
		c.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
			before.Add(1)
			c.Database = database
			return nil
		}
		c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			after.Add(1)
			_, err := conn.Exec(ctx, `SET search_path = nowhere`)
			return err
		}
		c.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { return false, errors.New("not for others") }
		c.BeforeClose = func(*pgx.Conn) { t.Error("BeforeClose is called") }
	})
	q := open(t, dsn, withPool(p))
	s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}})
	sql(t, dsn, `SELECT culvert.emit(room => 'r', event => 'e', data => '1')`)
	next(t, s, 1)
	must[event.Batch](t)(q.History(t.Context(), ns, room("r"), event.Client{}, event.Cursor{}, 10))
	until(t, "it listens", func() bool {
		var n int
		err := connect(t, dsn).QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'culvert' AND query = 'LISTEN culvert'`).Scan(&n)
		return err == nil && n == 1
	})
	if b, a := before.Load(), after.Load(); b < 5 || a < 5 {
		t.Errorf("BeforeConnect was called %d times, AfterConnect %d times", b, a)
	}
	refused := errors.New("not today")
	bad := ownPool(t, dsn, func(c *pgxpool.Config) {
		c.AfterConnect = func(context.Context, *pgx.Conn) error { return refused }
	})
	if _, err := queue.Open(t.Context(), queue.Options{Pool: bad}); !errors.Is(err, refused) {
		t.Errorf("AfterConnect fails and Open says %v", err)
	}
}

// Exactly one of DatabaseURL and Pool must be set.
func TestOneDatabase(t *testing.T) {
	dsn := pgtest.Database(t)
	for want, o := range map[string]queue.Options{
		"no database: set DatabaseURL, or Pool, whose connection settings are then used": {},
		"DatabaseURL and Pool are both set: set one of them":                             {DatabaseURL: dsn, Pool: ownPool(t, dsn)},
	} {
		if _, err := queue.Open(t.Context(), o); err == nil || err.Error() != want {
			t.Errorf("Open says %v, want %s", err, want)
		}
	}
}
