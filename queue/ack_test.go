package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
)

// A row that Postgres returns before the commit does not confirm an ack yet.
func TestAnAckWhoseCommitFailsIsNotAnswered(t *testing.T) {
	for name, failure := range map[string]string{
		"a constraint":               `RAISE EXCEPTION 'not this one'`,
		"the connection is ended":    `PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(10)`,
		"the statement is cancelled": `PERFORM pg_cancel_backend(pg_backend_pid()), pg_sleep(10)`,
	} {
		t.Run(name, func(t *testing.T) {
			dsn := pgtest.Database(t)
			q := open(t, dsn, func(o *queue.Options) { o.Logger = slog.New(slog.DiscardHandler) })
			atCommit(t, dsn, "clients", failure)
			if c, err := q.Ack(t.Context(), ns, client("bob"), q.Head()); err == nil {
				t.Errorf("answered with %v", c)
			}
			if _, err := q.ClientState(t.Context(), ns, client("bob"), nil); !errors.Is(err, event.ErrNotFound) {
				t.Errorf("state: %v", err)
			}
		})
	}
}

// An ack that waits for the client to be forgotten stores the client anew.
func TestAnAckOfAClientThatIsBeingForgotten(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	at := appendOne(t, q, emit("r", "1")).Cursor
	until(t, "this instance has read that far", func() bool { return q.Delivered() == at }) // it is stored a little before it is delivered
	must[event.Cursor](t)(q.Ack(t.Context(), ns, client("bob"), q.Head()))
	conn := connect(t, dsn)
	if _, err := conn.Exec(t.Context(), `BEGIN; DELETE FROM culvert.clients`); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := q.Ack(t.Context(), ns, client("bob"), q.Head())
		answered <- err
	}()
	watch := connect(t, dsn)
	until(t, "the ack waits", func() bool {
		var waits bool
		err := watch.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)`).Scan(&waits)
		return err == nil && waits
	})
	if _, err := conn.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, answered); err != nil {
		t.Fatal(err)
	}
	if s := must[queue.ClientState](t)(q.ClientState(t.Context(), ns, client("bob"), nil)); s.Cursor != q.Head() {
		t.Errorf("cursor %v, want %v", s.Cursor, q.Head())
	}
}

// Two instances acknowledge for the same clients while connections are ended in the middle of a statement, an
// instance is paused, and Postgres crashes: no answer is below an earlier one, and neither is the cursor that
// is stored in the end.
func TestAStoredCursorNeverGoesBack(t *testing.T) {
	server := pgtest.NewServer(t, localpg.Options{})
	dsn := server.DSN()
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	through, wire := proxy(t, dsn)
	quiet := func(o *queue.Options) {
		o.Logger = slog.New(slog.DiscardHandler)
		o.AppendTimeout = time.Second
	}
	instances := []*queue.Queue{open(t, dsn, quiet), open(t, through, quiet)}
	const clients, events = 400, 2_000
	emits := make([]event.Emit, events)
	for i := range emits {
		emits[i] = emit("r", "1")
	}
	last := must[[]event.Result](t)(instances[0].Append(t.Context(), emits))[events-1].Cursor

	ctx, stop := context.WithTimeout(t.Context(), 6*time.Second)
	defer stop()
	var acking, faults sync.WaitGroup
	var answers, failures atomic.Int64
	answered := make([]event.Offset, clients)
	for c := range clients {
		acking.Go(func() {
			for best := &answered[c]; ctx.Err() == nil; {
				at := *best + event.Offset(rand.N(12)) - 6 // now and then a position below one that was answered
				at = min(max(at, 1), last.Offset)
				got, err := instances[rand.N(2)].Ack(ctx, ns, client(fmt.Sprint("client ", c)), event.Cursor{Log: last.Log, Offset: at})
				if err != nil {
					failures.Add(1)
					continue
				}
				answers.Add(1)
				if got.Offset < max(at, *best) {
					t.Errorf("client %d: %d is answered with %d after %d", c, at, got.Offset, *best)
				}
				*best = max(*best, got.Offset)
			}
		})
	}
	every := func(pause time.Duration, fault func() error) {
		faults.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-time.After(pause):
				}
				_ = fault() // fails while another one has Postgres down
			}
		})
	}
	every(50*time.Millisecond, func() error { return endWhoWaitsFor(ctx, dsn, fmt.Sprint("client ", rand.N(clients))) })
	every(400*time.Millisecond, func() error {
		wire.Lock() // the second instance can neither send nor receive
		defer wire.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
		return nil
	})
	every(1200*time.Millisecond, func() error {
		return errors.Join(server.StopImmediate(t.Context()), server.StartAgain(t.Context()))
	})
	acking.Wait()
	faults.Wait()
	if answers.Load() < clients || failures.Load() == 0 {
		t.Errorf("with %d answers and %d failures the test shows nothing", answers.Load(), failures.Load())
	}
	t.Logf("%d answers, %d failures", answers.Load(), failures.Load())

	rows := must[pgx.Rows](t)(connect(t, dsn).Query(t.Context(), `SELECT substr(name, 8)::int, cursor FROM culvert.clients`))
	stored := make([]event.Offset, clients)
	var c int
	var at event.Offset
	if _, err := pgx.ForEachRow(rows, []any{&c, &at}, func() error { stored[c] = at; return nil }); err != nil {
		t.Fatal(err)
	}
	for c := range clients {
		if stored[c] < answered[c] {
			t.Errorf("client %d: %d is stored, %d was answered", c, stored[c], answered[c])
		}
	}
}

// endWhoWaitsFor ends the sessions that wait for a client's row.
func endWhoWaitsFor(ctx context.Context, dsn, name string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(ctx, `BEGIN`); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `SELECT FROM culvert.clients WHERE name = $1 FOR UPDATE`, name); err != nil {
		return err
	}
	for n := 0; n == 0; {
		err := conn.QueryRow(ctx, `
			SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			 WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))`).Scan(&n)
		if err != nil {
			return err
		}
	}
	return nil
}
