package stress

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/handlers"
)

// beHandler makes the test binary an application with a handler; it holds the DSN.
const beHandler = "STRESS_BE_HANDLER"

const runsSQL = `
CREATE TABLE public.runs (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "offset" bigint NOT NULL,
    alone    boolean NOT NULL,
    ended    text -- done or failed; NULL: killed in the middle
)`

// handle is that application. Every run holds a lock on its event, in a session
// that ends with the process: if the lock is taken, another run is under way.
func handle(ctx context.Context, dsn string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	q, err := queue.Open(ctx, queue.Options{DatabaseURL: dsn})
	fail(err)
	ns, err := event.ParseNamespace("default")
	fail(err)
	fail(q.Handle(ns, "work", func(ctx context.Context, e *event.Event) (any, error) {
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return nil, err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		var id int64
		err = conn.QueryRow(ctx, `INSERT INTO public.runs ("offset", alone) SELECT $1, pg_try_advisory_lock($1) RETURNING id`, int64(e.Offset)).Scan(&id)
		if err != nil {
			return nil, err
		}
		time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond) // work, and time to be killed
		end, failure := "done", error(nil)
		if rand.IntN(10) == 0 {
			end, failure = "failed", errors.New("bad luck")
		}
		_, err = conn.Exec(ctx, `UPDATE public.runs SET ended = $2 WHERE id = $1`, id, end)
		return nil, errors.Join(err, failure)
	}, handlers.Lease(time.Second), handlers.Backoff(10*time.Millisecond, 100*time.Millisecond), handlers.Tries(1000)))
	fmt.Fprintln(os.Stderr, "ready http://nowhere")
	<-ctx.Done()
	fail(q.Close(context.WithoutCancel(ctx)))
}

// TestHandlersAreKilled kills applications in the middle of their handlers: every
// event is still run to its end, and never twice at the same time.
func TestHandlersAreKilled(t *testing.T) {
	dsn := pgtest.NewServer(t, localpg.Options{}).DSN()
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), runsSQL); err != nil {
		t.Fatal(err)
	}
	var apps []*instance
	for range 3 {
		app := &instance{t: t, env: beHandler + "=" + dsn}
		app.start()
		t.Cleanup(app.kill)
		apps = append(apps, app)
	}
	duration := 9 * time.Second
	if testing.Short() {
		duration /= 3
	}
	emitted := 0
	kill := time.Now()
	for end := time.Now().Add(duration); time.Now().Before(end); emitted++ {
		if _, err := conn.Exec(t.Context(), `SELECT culvert.emit(event => 'work')`); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
		if time.Since(kill) > 300*time.Millisecond {
			app := apps[rand.IntN(3)]
			app.kill()
			app.start()
			kill = time.Now()
		}
	}
	const state = `
		SELECT (SELECT count(DISTINCT "offset") FROM public.runs WHERE ended = 'done'), (SELECT count(*) FROM culvert.handler_jobs),
		       (SELECT count(*) FROM public.runs WHERE NOT alone), (SELECT count(*) FROM public.runs WHERE ended IS NULL)`
	var done, left, together, killed int
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if err := conn.QueryRow(t.Context(), state).Scan(&done, &left, &together, &killed); err != nil {
			t.Fatal(err)
		}
		if done >= emitted && left == 0 || time.Now().After(deadline) {
			break
		}
	}
	t.Logf("%d events emitted, %d done, %d runs killed in the middle", emitted, done, killed)
	if done != emitted || left != 0 {
		t.Errorf("%d of %d events were run to their end, %d are left", done, emitted, left)
	}
	if together > 0 {
		t.Errorf("%d runs overlapped another run of their event", together)
	}
	if emitted < atLeast(200) || killed < atLeast(5) {
		t.Error("too little happened for this to show anything")
	}
}
