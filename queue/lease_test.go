package queue_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/handlers"
)

// Three instances, many events, functions that fail at random: each event is
// run until it is done, never twice at a time, and all instances take part.
func TestInstancesShareAHandler(t *testing.T) {
	dsn := pgtest.Database(t)
	const events = 300
	var mu sync.Mutex
	running, runs, done := map[event.Offset]bool{}, map[event.Offset]int{}, map[event.Offset]int{}
	share := make([]int, 3)
	all := make(chan struct{})
	var qs []*queue.Queue
	for i := range share {
		q := open(t, dsn)
		qs = append(qs, q)
		err := q.Handle(ns, "*", func(_ context.Context, e *event.Event) (any, error) {
			mu.Lock()
			if running[e.Offset] {
				t.Errorf("two runs of event %d overlap", e.Offset)
			}
			running[e.Offset] = true
			runs[e.Offset]++
			fail := runs[e.Offset] <= int(e.Offset%3)
			share[i]++
			mu.Unlock()
			time.Sleep(2 * time.Millisecond) // work
			mu.Lock()
			defer mu.Unlock()
			running[e.Offset] = false
			if fail {
				return nil, errors.New("not yet")
			}
			if done[e.Offset]++; len(done) == events {
				close(all)
			}
			return nil, nil
		}, handlers.Backoff(time.Millisecond, 20*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range events {
		appendOne(t, qs[i%3], emit("r", "1"))
	}
	receive(t, all)
	mu.Lock()
	defer mu.Unlock()
	for offset, n := range done {
		if n != 1 || runs[offset] != int(offset%3)+1 {
			t.Errorf("event %d was run %d times, and done %d times", offset, runs[offset], n)
		}
	}
	if slices.Min(share) == 0 {
		t.Errorf("shares %v", share)
	}
}

// A lease that is not renewed ends the function's context, and another instance runs the event; this one does
// not, because its function still runs.
func TestLostLeaseEndsTheFunction(t *testing.T) {
	dsn := pgtest.Database(t)
	a := open(t, dsn)
	cause := make(chan error, 1)
	release, another := make(chan struct{}), make(chan struct{})
	var runs atomic.Int32
	err := a.Handle(ns, "*", func(ctx context.Context, e *event.Event) (any, error) {
		if e.Data == "2" {
			close(another)
			return nil, nil
		}
		if runs.Add(1) > 1 {
			t.Error("two runs of the event overlap")
		}
		<-ctx.Done()
		cause <- context.Cause(ctx)
		<-release
		return nil, nil
	}, handlers.Named("slow"), handlers.Lease(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	appendOne(t, a, emit("r", "1"))
	conn := connect(t, dsn)
	until(t, "it is claimed", func() bool {
		tag, err := conn.Exec(t.Context(), `UPDATE culvert.handler_jobs SET claim = claim + 1000, due = clock_timestamp() WHERE claim = 1`)
		return err == nil && tag.RowsAffected() == 1 // as another instance does
	})
	if err := receive(t, cause); !errors.Is(err, event.ErrLeaseLost) {
		t.Errorf("cause %v", err)
	}
	appendOne(t, a, emit("r", "2")) // makes it look for jobs that are due
	receive(t, another)
	b := handle(t, open(t, dsn), "*", handlers.Named("slow"))
	receive(t, b)
	until(t, "it is done", func() bool {
		var left int
		err := conn.QueryRow(t.Context(), `SELECT count(*) FROM culvert.handler_jobs`).Scan(&left)
		return err == nil && left == 0
	})
	close(release)
}

func TestCloseWaitsForHandlers(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	started, ended := make(chan struct{}), make(chan error, 1)
	err := q.Handle(ns, "*", func(ctx context.Context, _ *event.Event) (any, error) {
		close(started)
		// It may still use the queue.
		_, err := q.Append(ctx, []event.Emit{emit("r", `"by the handler"`)})
		ended <- err
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	appendOne(t, q, emit("r", "1"))
	receive(t, started)
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	default:
		t.Error("Close did not wait")
	}
	if err := q.Handle(ns, "x", nil); err == nil {
		t.Error("a closed queue takes a handler")
	}

	stuck := open(t, dsn)
	started = make(chan struct{}, 10)
	cause := make(chan error, 1)
	err = stuck.Handle(ns, "*", func(ctx context.Context, _ *event.Event) (any, error) {
		started <- struct{}{}
		<-ctx.Done()
		cause <- ctx.Err()
		return nil, ctx.Err()
	}, handlers.Named("stuck"))
	if err != nil {
		t.Fatal(err)
	}
	appendOne(t, stuck, emit("r", "1"))
	receive(t, started)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := stuck.Close(ctx); err == nil || !strings.Contains(err.Error(), "default/stuck") {
		t.Errorf("close: %v", err)
	}
	if err := receive(t, cause); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
