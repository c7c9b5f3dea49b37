package queue_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// pruning is what culvert.prune locks, unless somebody else has locked it: then it does nothing.
const pruning = `SELECT FROM culvert.turns WHERE n = 2 FOR UPDATE;`

// sql runs statements and fails the test when one does. Those that prune wait for instances that do.
func sql(t testing.TB, dsn string, statements ...string) {
	t.Helper()
	conn := connect(t, dsn)
	for _, s := range statements {
		if strings.Contains(s, "culvert.prune(") {
			s = pruning + s // one transaction, because they are sent together
		}
		if _, err := conn.PgConn().Exec(t.Context(), s).ReadAll(); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestGapIsReportedOnlyToWhoLostSomething(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	start := q.Head()
	appendOne(t, q, emit("busy", "1"))
	lost := appendOne(t, q, emit("busy", "2")).Cursor
	sql(t, dsn, `SELECT culvert.rotate('0', 1)`)
	kept := appendOne(t, q, emit("busy", "3")).Cursor
	sql(t, dsn, `SELECT culvert.prune('0', 0)`)

	// Another instance has none of the events in its tail.
	q = open(t, dsn, queue.Cold)
	s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("busy")}, After: start})
	b := must[event.Batch](t)(s.Next(t.Context(), 10))
	want := event.Gap{From: start, To: lost, Reason: event.GapPruned}
	if b.Gap == nil || *b.Gap != want || len(b.Events) != 1 || b.Events[0].Cursor() != kept {
		t.Errorf("got gap %v and %d events, want %v and the one kept", b.Gap, len(b.Events), want)
	}

	for _, in := range []queue.Interest{
		{Rooms: []event.Room{room("quiet")}, After: start},
		{Rooms: []event.Room{room("busy")}, After: lost},
		{Rooms: []event.Room{room("busy")}, Earliest: true},
	} {
		s := subscribe(t, q, in)
		if b := must[event.Batch](t)(s.Poll(t.Context(), 10)); b.Gap != nil {
			t.Errorf("%v after %v: gap %v, but nothing was lost", in.Rooms, in.After, *b.Gap)
		}
	}
	h := must[event.Batch](t)(q.History(t.Context(), ns, room("busy"), event.Client{}, start, 10))
	if h.Gap == nil || *h.Gap != want {
		t.Errorf("history: gap %v, want %v", h.Gap, want)
	}
}

func TestCursorOfAnotherLogGoesOnAtTheOldest(t *testing.T) {
	q := open(t, pgtest.Database(t))
	appendOne(t, q, emit("r", "1"))
	foreign := event.Cursor{Log: "other", Offset: 77}
	s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}, After: foreign})
	b := must[event.Batch](t)(s.Next(t.Context(), 10))
	if b.Gap == nil || b.Gap.Reason != event.GapLog || b.Gap.From != foreign || b.Gap.To.Log != q.Head().Log {
		t.Errorf("gap %v", b.Gap)
	}
	if got := next(t, s, 1); got[0] != "1" {
		t.Errorf("the reader continues with %v", got)
	}
}

func TestSlicesRollAndArePrunedByAge(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, func(o *queue.Options) { o.Slice, o.Retention = time.Second, time.Second })
	first := appendOne(t, q, emit("r", "1")).Cursor
	conn := connect(t, dsn)
	until(t, "the first slice is gone", func() bool {
		var floor int64
		if err := conn.QueryRow(t.Context(), `SELECT floor FROM culvert.log`).Scan(&floor); err != nil {
			t.Fatal(err)
		}
		return floor >= int64(first.Offset)
	})
	h := must[event.Batch](t)(q.History(t.Context(), ns, room("r"), event.Client{}, event.Cursor{}, 10))
	if len(h.Events) != 0 {
		t.Errorf("%d events are still there", len(h.Events))
	}
	if next := appendOne(t, q, emit("r", "2")).Cursor; next.Offset <= first.Offset {
		t.Errorf("offset %d after %d", next.Offset, first.Offset)
	}
}

func TestSlicesArePrunedByCount(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, func(o *queue.Options) {
		o.Slice, o.SliceEvents, o.RetentionEvents = 5*time.Second, 20, 50
	})
	for range 30 {
		for range 10 {
			appendOne(t, q, emit("r", "1"))
		}
		sql(t, dsn, `SELECT culvert.rotate('1 hour', 20)`)
	}
	conn := connect(t, dsn)
	until(t, "old slices are gone", func() bool {
		var kept int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM culvert.events`).Scan(&kept); err != nil {
			t.Fatal(err)
		}
		if kept < 50 {
			t.Fatalf("only %d events are kept, want at least 50", kept)
		}
		return kept <= 80
	})
}

// A reader that blocks a DROP must not hold up emits.
func TestPruningBehindAReaderLetsEmitsThrough(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	appendOne(t, q, emit("r", "1"))
	sql(t, dsn, `SELECT culvert.rotate('0', 1)`)
	reader := connect(t, dsn)
	if _, err := reader.Exec(t.Context(), `BEGIN; SELECT count(*) FROM culvert.events`); err != nil {
		t.Fatal(err)
	}
	pruned := make(chan error, 1)
	pruner := connect(t, dsn)
	go func() {
		for {
			var slice *int // NULL while the instance itself prunes
			err := pruner.QueryRow(t.Context(), `SELECT culvert.prune('0', 0)`).Scan(&slice)
			if err != nil || slice != nil {
				pruned <- err
				return
			}
		}
	}()
	worst, emits := time.Duration(0), 0
	for done := false; !done; {
		start := time.Now()
		appendOne(t, q, emit("r", "2"))
		worst, emits = max(worst, time.Since(start)), emits+1
		select {
		case err := <-pruned:
			if err == nil {
				t.Error("the slice was dropped under a reader")
			}
			done = true
		default:
		}
	}
	t.Logf("%d emits meanwhile, the slowest %v", emits, worst)
	if emits < 5 {
		t.Errorf("only %d emits got through while pruning waited", emits)
	}
	if _, err := reader.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	sql(t, dsn, `SELECT culvert.prune('0', 0)`)
}

// A query that runs for ever on an old slice must not fill the disk unnoticed: it is logged.
func TestASliceThatCannotBeDroppedIsLogged(t *testing.T) {
	dsn := pgtest.Database(t)
	var logged lines
	q := open(t, dsn, func(o *queue.Options) {
		o.Slice, o.Retention = time.Second, time.Second
		o.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	})
	reader := connect(t, dsn)
	if _, err := reader.Exec(t.Context(), `BEGIN; SELECT FROM culvert.events`); err != nil {
		t.Fatal(err)
	}
	appendOne(t, q, emit("r", "1"))
	until(t, "the log tells of the slice", func() bool { return strings.Contains(logged.String(), "is being read") })
	if _, err := reader.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
}

func TestKeysAreForgottenAfterTheWindow(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, func(o *queue.Options) { o.DedupWindow = time.Hour; o.Slice = time.Second })
	e := emit("r", "1")
	e.Key = key("k")
	first := appendOne(t, q, e)
	sql(t, dsn, `UPDATE culvert.keys SET at = at - interval '59 minutes'`)
	if r := appendOne(t, q, e); !r.Duplicate {
		t.Error("the key was forgotten within its window")
	}
	sql(t, dsn, `UPDATE culvert.keys SET at = at - interval '2 minutes'`)
	if r := appendOne(t, q, e); r.Duplicate || r.Cursor == first.Cursor {
		t.Error("the key was remembered after its window")
	}
	sql(t, dsn, `UPDATE culvert.keys SET at = at - interval '2 hours'`)
	conn := connect(t, dsn)
	until(t, "the key is deleted", func() bool {
		var n int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM culvert.keys`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
}

// until waits for something that other processes bring about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Slices are opened whatever plan Postgres chooses: with statistics of a log of many slices it reads all of
// pg_class, which also has names that are not of slices.
func TestSlicesAreOpenedByAnyPlan(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	for _, off := range []string{"enable_nestloop", "enable_hashjoin", "enable_mergejoin", "enable_indexscan"} {
		appendOne(t, q, emit("r", "1"))
		sql(t, dsn, `SET enable_nestloop = off`, `SET `+off+` = off`, `SELECT culvert.rotate('0 s', 1)`)
	}
	var open int
	if err := connect(t, dsn).QueryRow(t.Context(), `SELECT slice FROM culvert.log`).Scan(&open); err != nil || open == 0 {
		t.Errorf("the open slice is %d, %v", open, err)
	}
}
