package queue_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/registry"
)

// MaxConns bounds all connections of an instance. With the least value everything still works at once: nothing
// waits for a connection while holding one.
func TestConnectionsAreBounded(t *testing.T) {
	for _, c := range []struct {
		set, most int
		pool      bool // connect by an application's pool, all of which is in use
	}{{5, 5, false}, {0, 10, false}, {30, 30, false}, {5, 5, true}, {0, 10, true}} {
		most, dsn := c.most, pgtest.Database(t)
		q := open(t, dsn, quiet, func(o *queue.Options) {
			if o.MaxConns = c.set; c.pool {
				o.DatabaseURL, o.ListenURL, o.Pool = "", "", busyPool(t, dsn)
			}
		})
		events := handle(t, q, "greeting")
		admin := connect(t, dsn)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		g, ctx := errgroup.WithContext(ctx)
		for i := range 40 {
			g.Go(func() error {
				who := client("c" + strings.Repeat("x", i))
				s, err := q.Subscribe(ctx, queue.Interest{Namespace: ns, Client: who, Earliest: true})
				if err != nil {
					return err
				}
				defer s.Close()
				_, joined := q.Join(ctx, ns, room("lobby"), who, 0)
				e := emit("lobby", "1")
				e.Reply = event.Ask{Timeout: time.Minute, Count: 1}
				r, appended := q.Append(ctx, []event.Emit{e})
				if err := errors.Join(joined, appended); err != nil {
					return err
				}
				_, replied := q.Reply(ctx, queue.Reply{Namespace: ns, To: r[0].Cursor.Offset, From: who, Data: data("1")})
				_, awaited := q.Await(ctx, ns, r[0].Cursor.Offset)
				_, read := q.History(ctx, ns, room("lobby"), who, event.Cursor{}, 100)
				_, acked := q.Ack(ctx, ns, who, r[0].Cursor)
				_, seen := q.ClientState(ctx, ns, who, nil)
				_, set := q.Registry().SetNamespace(ctx, ns, func(*registry.NamespaceSettings) error { return nil })
				return errors.Join(replied, awaited, read, acked, seen, set, q.PublishVolatile(ctx, []event.Emit{emit("lobby", "2")}))
			})
		}
		over := make(chan error, 1)
		go func() { over <- g.Wait() }()
		worst := 0
		for done := false; !done; {
			select {
			case err := <-over:
				if done = true; err != nil {
					t.Errorf("with %d connections: %v", most, err)
				}
			default:
			}
			var n int
			err := admin.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'culvert'`).Scan(&n)
			if err != nil {
				t.Fatal(err)
			}
			worst = max(worst, n)
		}
		cancel()
		if worst > most {
			t.Errorf("%d connections are open at once, want %d at most", worst, most)
		}
		for range 40 {
			receive(t, events)
		}
	}
}

// Postgres ends all its connections when it restarts. A request that comes afterwards uses
// none of them, however short a time they were idle.
func TestConnectionsThatEndedAreNotUsed(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, quiet)
	admin := connect(t, dsn)
	bob := client("bob")
	all := map[string]func() error{
		"append": func() error { _, err := q.Append(t.Context(), []event.Emit{emit("r", "1")}); return err },
		"join":   func() error { _, err := q.Join(t.Context(), ns, room("r"), bob, 0); return err },
		"ack":    func() error { _, err := q.Ack(t.Context(), ns, bob, q.Head()); return err },
		"state":  func() error { _, err := q.ClientState(t.Context(), ns, bob, nil); return err },
		"rooms":  func() error { _, err := q.Rooms(t.Context(), ns, event.Room{}, 10); return err },
		"history": func() error {
			_, err := q.History(t.Context(), ns, room("r"), event.Client{}, event.Cursor{}, 10)
			return err
		},
		"settings": func() error {
			_, err := q.Registry().SetNamespace(t.Context(), ns, func(*registry.NamespaceSettings) error { return nil })
			return err
		},
		"ready": func() error { return q.Ping(t.Context()) },
	}
	several := func(name string) error {
		g := errgroup.Group{}
		for range 4 { // at once, so that a pool has several idle connections
			g.Go(all[name])
		}
		return g.Wait()
	}
	for _, name := range []string{"append", "join", "ack", "state", "rooms", "history", "settings", "ready"} {
		if err := several(name); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, err := admin.Exec(t.Context(), `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'culvert' AND state = 'idle'`)
		if err != nil {
			t.Fatal(err)
		}
		if err := several(name); err != nil {
			t.Errorf("%s after the connections ended: %v", name, err)
		}
	}
}

// When Postgres has no connection left, the error and the log say what to change.
func TestNoConnectionLeft(t *testing.T) {
	server := pgtest.NewServer(t, localpg.Options{Settings: map[string]string{"max_connections": "14", "superuser_reserved_connections": "0"}})
	if err := migrations.Up(t.Context(), server.DSN()); err != nil {
		t.Fatal(err)
	}
	var log safeBuffer
	q := open(t, server.DSN(), logTo(&log), func(o *queue.Options) { o.MaxConns = 7 })
	var hogs []*pgx.Conn
	for {
		c, err := pgx.Connect(t.Context(), server.DSN())
		if err != nil {
			break
		}
		defer c.Close(context.Background())
		hogs = append(hogs, c)
	}
	// One of the first statements needs a connection that has not been opened yet.
	var err error
	for i := 0; err == nil && i < 100; i++ {
		g := errgroup.Group{}
		for range 3 {
			g.Go(func() error {
				_, err := q.ClientState(t.Context(), ns, client("nobody"), nil)
				if errors.Is(err, event.ErrNotFound) {
					return nil
				}
				return err
			})
			g.Go(func() error {
				_, err := q.Append(t.Context(), []event.Emit{emit("r", "1")})
				return err
			})
		}
		err = g.Wait()
	}
	if !errors.Is(err, event.ErrUnavailable) || !strings.Contains(err.Error(), "--max-connections") || !strings.Contains(err.Error(), "max_connections of Postgres") {
		t.Errorf("the error is %v", err)
	}
	if got := log.String(); !strings.Contains(got, "no connection left") || !strings.Contains(got, "max_conns_of_instance=7") || !strings.Contains(got, "max_connections_of_postgres=14") {
		t.Errorf("the log says\n%s", got)
	}
	if _, err := queue.Open(t.Context(), queue.Options{DatabaseURL: server.DSN()}); !errors.Is(err, event.ErrUnavailable) || !strings.Contains(err.Error(), "--max-connections") {
		t.Errorf("another instance: %v", err)
	}
	for _, c := range hogs {
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "it works again", func() bool {
		_, err := q.Append(t.Context(), []event.Emit{emit("r", "1")})
		return err == nil
	})
}
