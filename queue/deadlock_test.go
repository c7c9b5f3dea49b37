package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/handlers"
	"github.com/culvertmq/culvert/queue/registry"
)

// crowd makes everything that writes to a log run at the same time, for a while.
type crowd struct {
	testing.TB
	ctx       context.Context
	dsn       string
	instances []*queue.Queue
	work      sync.WaitGroup
	did       sync.Map // what → *atomic.Int64
}

// Whatever is done to a log at the same time, there are no deadlocks: all transactions lock in one order, see
// append.sql.
func TestWritersDoNotDeadlock(t *testing.T) {
	dsn := pgtest.Database(t)
	// Postgres looks for deadlocks sooner than by default, so that the test sees more of them.
	sql(t, dsn, `DO $$ BEGIN
		EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = 100', current_database());
		EXECUTE format('ALTER DATABASE %I SET lc_messages = ''C''', current_database());
	END $$`, `UPDATE culvert.namespaces SET presence = ARRAY['a*']`)
	var logged lines
	c := &crowd{TB: t, dsn: dsn}
	ctx, stop := context.WithTimeout(t.Context(), 6*time.Second)
	defer stop()
	c.ctx = ctx
	for range 3 {
		q := open(t, dsn, func(o *queue.Options) {
			o.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
			o.Slice, o.Retention, o.DedupWindow = time.Second, time.Second, 10*time.Millisecond
			o.AppendTimeout = 30 * time.Second // the machine may be slow
			o.MaxConns = 24                    // so that more runs at the same time
		})
		if err := q.Handle(ns, "greeting", func(context.Context, *event.Event) (any, error) { return 1, nil },
			handlers.Concurrency(8), handlers.Lease(300*time.Millisecond), handlers.Backoff(time.Millisecond, time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		c.instances = append(c.instances, q)
	}
	c.acks()
	c.members()
	c.emits()
	c.leases()
	c.replies()
	c.operators()
	c.work.Wait()

	for _, q := range c.instances { // a session reports its counts when it ends
		if err := q.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	conn := connect(t, dsn)
	until(t, "all sessions have ended", func() bool {
		var others int
		err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'culvert'`).Scan(&others)
		return err == nil && others == 0
	})
	var deadlocks int
	if err := conn.QueryRow(t.Context(), `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&deadlocks); err != nil || deadlocks > 0 {
		t.Errorf("%d deadlocks, %v", deadlocks, err)
	}
	for _, line := range strings.Split(logged.String(), "\n") {
		if strings.Contains(line, "40P01") || strings.Contains(line, "23503") {
			t.Error(line)
		}
	}
	c.did.Range(func(what, n any) bool {
		t.Logf("%s: %d", what, n.(*atomic.Int64).Load())
		if n.(*atomic.Int64).Load() == 0 {
			t.Errorf("%s: none was done", what)
		}
		return true
	})
}

// do repeats something in so many goroutines until the time is over. None of it may fail.
func (c *crowd) do(what string, goroutines int, f func(q *queue.Queue) error) {
	done := new(atomic.Int64)
	c.did.Store(what, done)
	for i := range goroutines {
		c.work.Go(func() {
			for c.ctx.Err() == nil {
				err := f(c.instances[i%len(c.instances)])
				if c.ctx.Err() != nil {
					return
				}
				if errors.As(err, new(*pgconn.ConnectError)) {
					continue // on an overloaded machine it may exceed its timeout
				}
				if err != nil {
					c.Errorf("%s: %v", what, err)
					return
				}
				done.Add(1)
			}
		})
	}
}

// The names have letters inside and outside of ASCII, upper and lower case: collations sort them differently.
func someone() event.Client {
	return client(fmt.Sprint([]string{"a", "B", "c-", "Ä", "é", "_"}[rand.N(6)], rand.N(60)))
}

func somewhere() event.Room { return room(someone().String() + fmt.Sprint(rand.N(10))) }

var (
	tenants   = []event.Namespace{ns, mustParse(event.ParseNamespace, "t1"), mustParse(event.ParseNamespace, "t2")}
	anyTenant = func() event.Namespace { return tenants[max(0, rand.N(12)-9)] } // mostly the first one
)

func (c *crowd) acks() {
	c.do("acks", 60, func(q *queue.Queue) error {
		_, err := q.Ack(c.ctx, anyTenant(), someone(), q.Head())
		return err
	})
	c.do("subscriptions", 6, func(q *queue.Queue) error {
		s, err := q.Subscribe(c.ctx, queue.Interest{Namespace: anyTenant(), Client: someone()})
		if err == nil {
			s.Close()
		}
		return err
	})
}

func (c *crowd) members() {
	c.do("joins", 24, func(q *queue.Queue) error {
		_, err := q.Join(c.ctx, anyTenant(), somewhere(), someone(), 0)
		return err
	})
	c.do("leaves", 9, func(q *queue.Queue) error {
		_, err := q.Leave(c.ctx, anyTenant(), somewhere(), someone())
		return err
	})
	c.do("forgets", 12, func(q *queue.Queue) error {
		err := q.Forget(c.ctx, anyTenant(), someone())
		return unless(err, event.ErrNotFound)
	})
}

func unless(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

func (c *crowd) emits() {
	var keys atomic.Int64
	c.do("emits", 15, func(q *queue.Queue) error {
		// Keys are used again after their window, while retention deletes them.
		several := make([]event.Emit, 8)
		for i := range several {
			several[i] = event.Emit{
				Namespace: ns, Event: greeting, Data: data("1"), Key: key(fmt.Sprint("k", keys.Add(1)%2000)),
				Rooms: []event.Room{somewhere(), somewhere(), somewhere()},
			}
		}
		_, err := q.Append(c.ctx, several)
		return unless(err, event.ErrKeyReused)
	})
	c.do("emits from SQL", 2, func(*queue.Queue) error {
		return c.transaction(func(tx pgx.Tx) error {
			for range 5 {
				_, err := tx.Exec(c.ctx, `SELECT culvert.emit(rooms => $1, event => 'said', data => '1')`,
					[]string{somewhere().String(), somewhere().String(), somewhere().String()})
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func (c *crowd) transaction(f func(pgx.Tx) error) error {
	conn, err := pgx.Connect(c.ctx, c.dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	return pgx.BeginFunc(c.ctx, conn, f)
}

// leases takes leases, gives them up and lets them run out, for more instance ids than there are instances.
func (c *crowd) leases() {
	for i, lease := range []string{"30 s", "1 us", "0"} {
		c.do("leases of "+lease, 1, func(*queue.Queue) error {
			return c.transaction(func(tx pgx.Tx) error {
				_, err := tx.Exec(c.ctx, `
					SELECT culvert.lease($1, array_agg(w.namespace_id), array_agg(w.name), array_agg($2::text::interval))
					  FROM (SELECT namespace_id, name FROM culvert.clients
					         WHERE random() < 0.1 ORDER BY namespace_id, name COLLATE "C") w`, fmt.Sprint("instance ", i), lease)
				return err
			})
		})
	}
	c.do("ends of leases", 2, func(*queue.Queue) error {
		return c.transaction(func(tx pgx.Tx) error {
			_, err := tx.Exec(c.ctx, `SELECT culvert.expire_leases()`)
			return err
		})
	})
}

func (c *crowd) replies() {
	c.do("asks", 3, func(q *queue.Queue) error {
		got, err := q.Append(c.ctx, []event.Emit{{
			Namespace: ns, Event: greeting, Rooms: []event.Room{event.Everyone()}, Data: data("1"),
			Reply: event.Ask{Timeout: event.MinAsk, Count: 20},
		}})
		if err != nil {
			return err
		}
		var all sync.WaitGroup
		for _, q := range c.instances {
			all.Go(func() {
				_, err := q.Reply(c.ctx, queue.Reply{Namespace: ns, To: got[0].Cursor.Offset, From: someone(), Data: data("1")})
				if err = unless(unless(err, event.ErrReplyClosed), event.ErrNoAsk); err != nil && c.ctx.Err() == nil {
					c.Errorf("reply: %v", err)
				}
			})
		}
		all.Wait()
		return nil
	})
}

// operators make and delete namespaces and keys; the instances' retention drops slices,
// keys and asks and sweeps what deleted namespaces left.
func (c *crowd) operators() {
	c.do("settings", 3, func(q *queue.Queue) error {
		n := tenants[1+rand.N(2)]
		_, err := q.Registry().PutNamespace(c.ctx, n, registry.NamespaceSettings{Retention: time.Second, Presence: []string{"a*"}})
		if err != nil {
			return err
		}
		_, err = q.Registry().SetNamespace(c.ctx, n, func(s *registry.NamespaceSettings) error { s.EmitRate++; return nil })
		return unless(err, event.ErrNotFound)
	})
	c.do("deletions", 2, func(q *queue.Queue) error {
		select {
		case <-c.ctx.Done():
		case <-time.After(200 * time.Millisecond): // so that others write to it meanwhile
		}
		return unless(q.Registry().DeleteNamespace(c.ctx, tenants[1+rand.N(2)]), event.ErrNotFound)
	})
	c.do("keys", 2, func(q *queue.Queue) error {
		k, _, err := q.Registry().CreateKey(c.ctx, registry.APIKey{Label: "x"})
		if err != nil {
			return err
		}
		if err := q.Registry().Revoke(c.ctx, anyTenant(), someone()); err != nil {
			return err
		}
		return q.Registry().RevokeKey(c.ctx, k.ID)
	})
}
