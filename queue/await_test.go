package queue_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
)

// awaiting starts Await, and returns a function that waits for its end. The function returns the replies as
// "from:data" in order, then "..." if they are not complete, and "(wait over)" if the wait ended because its
// time was over.
func awaiting(t testing.TB, q *queue.Queue, to event.Offset, wait time.Duration) func() []string {
	t.Helper()
	type outcome struct {
		r    queue.Replies
		err  error
		over bool
	}
	c := make(chan outcome, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		r, err := q.Await(ctx, ns, to)
		c <- outcome{r: r, err: err, over: ctx.Err() != nil}
	}()
	return func() []string {
		t.Helper()
		o := <-c
		if o.err != nil {
			t.Fatal(o.err)
		}
		got := []string{}
		for _, a := range o.r.Answers {
			got = append(got, a.From.String()+":"+a.Data.JSON())
		}
		if !o.r.Complete {
			got = append(got, "...")
		}
		if o.over {
			got = append(got, "(wait over)")
		}
		return got
	}
}

func TestPartialAtTheTimeout(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	to := ask(t, q, "*", 3, within(300*time.Millisecond))
	wait := awaiting(t, q, to, long)
	answered(t, q, to, "bob", "1")
	same(t, "at the ask's timeout", wait(), "bob:1", "...")
	if _, err := answer(t, q, to, "carol", "1"); !errors.Is(err, event.ErrReplyClosed) {
		t.Errorf("after the timeout: %v", err)
	}
	if again, err := answer(t, q, to, "bob", "1"); !again || err != nil {
		t.Errorf("repeated after the timeout: %v, %v", again, err)
	}
	to = ask(t, q, "*", 3)
	answered(t, q, to, "bob", "2")
	same(t, "at the wait's end", awaiting(t, q, to, 10*time.Millisecond)(), "bob:2", "...", "(wait over)")
}

func TestManyLargeRepliesAreCut(t *testing.T) {
	q := open(t, pgtest.Database(t))
	to := ask(t, q, "*", 20)
	for i := range 20 {
		answered(t, q, to, fmt.Sprint("c", i), `"%0262000d"`, i)
	}
	r := must[queue.Replies](t)(q.Await(t.Context(), ns, to))
	if !r.Complete || !r.Cut || len(r.Answers) != 17 {
		t.Errorf("complete %v, cut %v, %d answers", r.Complete, r.Cut, len(r.Answers))
	}
}

// A waiting emit survives an outage of Postgres, and a tail that starts over.
func TestAwaitSurvives(t *testing.T) {
	server := pgtest.NewServer(t, localpg.Options{})
	dsn := server.DSN()
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	a := open(t, dsn)
	to := ask(t, a, "*", 1)
	wait := awaiting(t, a, to, time.Minute)
	stop(t, server)
	start(t, server)
	b := open(t, dsn)
	until(t, "replies are taken again", func() bool {
		again, err := answer(t, b, to, "bob", "1")
		return err == nil || again
	})
	same(t, "after a crash", wait(), "bob:1")

	until(t, "emits are taken again", func() bool {
		_, err := a.Append(t.Context(), []event.Emit{emit("r", "1")})
		return err == nil
	})
	to = ask(t, a, "*", 1)
	wait = awaiting(t, a, to, time.Minute)
	// From here on the log is another one: the tail never gets what it has not read by then, and starts over.
	sql(t, dsn, `BEGIN; LOCK TABLE culvert.append_lock IN SHARE UPDATE EXCLUSIVE MODE; UPDATE culvert.log SET database = 0;
		INSERT INTO culvert.replies ("offset", party, is_binary, data) SELECT "offset", 'bob', false, '2' FROM culvert.asks ORDER BY 1 DESC LIMIT 1;
		UPDATE culvert.asks SET counted = wanted; COMMIT`)
	same(t, "after the tail started over", wait(), "bob:2")
}
