package queue_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

func TestEventsReachBothInstancesInOrder(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn)
	in := queue.Interest{Client: client("bob"), Rooms: []event.Room{room("lobby")}}
	subs := []*queue.Subscription{subscribe(t, a, in), subscribe(t, b, in)}
	var want []string
	for i := range 50 {
		want = append(want, strconv.Itoa(i))
		appendOne(t, []*queue.Queue{a, b}[i%2], emit("lobby", "%d", i))
		appendOne(t, a, emit("elsewhere", "%d", i))
	}
	for i, s := range subs {
		if got := next(t, s, 50); !slices.Equal(got, want) {
			t.Errorf("instance %d delivered %v, want %v", i, got, want)
		}
	}
}

func TestEmitFromSQL(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("orders")}})
	conn := connect(t, dsn)
	for i, end := range []string{"COMMIT", "ROLLBACK", "COMMIT"} {
		for _, sql := range []string{
			"BEGIN",
			"SELECT culvert.emit(room => 'orders', event => 'paid', data => '{\"id\":" + strconv.Itoa(i) + "}')",
			end,
		} {
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, want := next(t, s, 2), []string{`{"id": 0}`, `{"id": 2}`}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestKeys(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	keyed := func(k, d string) event.Emit {
		e := emit("lobby", "%s", d)
		e.Key = key(k)
		return e
	}
	first := appendOne(t, q, keyed("k", "1"))
	again := appendOne(t, q, keyed("k", "1"))
	if again.Cursor != first.Cursor || !again.Duplicate || first.Duplicate {
		t.Errorf("first %+v, again %+v", first, again)
	}
	if _, err := q.Append(t.Context(), []event.Emit{emit("lobby", "0"), keyed("k", "2")}); !errors.Is(err, event.ErrKeyReused) {
		t.Errorf("another body: %v, want ErrKeyReused", err)
	}
	if _, err := q.Append(t.Context(), []event.Emit{keyed("n", "1"), keyed("n", "2")}); !errors.Is(err, event.ErrKeyReused) {
		t.Errorf("two bodies in one batch: %v, want ErrKeyReused", err)
	}
	batch := must[[]event.Result](t)(q.Append(t.Context(), []event.Emit{keyed("k", "1"), keyed("m", "3"), keyed("m", "3"), emit("lobby", "4")}))
	if !batch[0].Duplicate || batch[0].Cursor != first.Cursor || batch[1].Duplicate || !batch[2].Duplicate ||
		batch[2].Cursor != batch[1].Cursor || batch[3].Cursor.Offset != batch[1].Cursor.Offset+1 {
		t.Errorf("batch %+v", batch)
	}
	history := must[event.Batch](t)(q.History(t.Context(), ns, room("lobby"), event.Client{}, event.Cursor{}, 100))
	var got []string
	for _, e := range history.Events {
		got = append(got, e.Data)
	}
	if want := []string{"1", "3", "4"}; !slices.Equal(got, want) {
		t.Errorf("the room has %v, want %v", got, want)
	}
}

func TestAppendEachRefusesOneAlone(t *testing.T) {
	q := open(t, pgtest.Database(t))
	a, b := emit("lobby", "1"), emit("lobby", "2")
	a.Key, b.Key = key("same"), key("same")
	r := q.AppendEach(t.Context(), []event.Emit{a, b, {}, emit("lobby", "3"), a})
	var invalid *event.InvalidError
	if r[0].Err != nil || !errors.Is(r[1].Err, event.ErrKeyReused) || !errors.As(r[2].Err, &invalid) ||
		r[3].Err != nil || !r[4].Duplicate || r[4].Cursor != r[0].Cursor {
		t.Errorf("results %+v", r)
	}
}

func TestFullQueueRefuses(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, func(o *queue.Options) { o.QueueEvents = 4 })
	conn := connect(t, dsn)
	tx := must[interface {
		Rollback(context.Context) error
	}](t)(conn.Begin(t.Context()))
	if _, err := conn.Exec(t.Context(), `LOCK TABLE culvert.append_lock IN SHARE UPDATE EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	// At most one batch of four emits is in the appender, and another one in the queue.
	results := make(chan error, 3)
	for range 3 {
		go func() {
			_, err := q.Append(t.Context(), []event.Emit{emit("r", "1"), emit("r", "2"), emit("r", "3"), emit("r", "4")})
			results <- err
		}()
	}
	if err := <-results; !errors.Is(err, event.ErrOverloaded) {
		t.Errorf("more than fits: %v, want ErrOverloaded", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	stored := 0
	for range 2 {
		if err := <-results; err == nil {
			stored += 4
		} else if !errors.Is(err, event.ErrOverloaded) {
			t.Error(err)
		}
	}
	b := must[event.Batch](t)(q.History(t.Context(), ns, room("r"), event.Client{}, event.Cursor{}, 100))
	if len(b.Events) != stored || stored == 0 {
		t.Errorf("%d events stored, %d were confirmed", len(b.Events), stored)
	}
}

// A batch to 2,000 rooms is stored in time; one to more rooms is refused.
func TestBatchIsBoundedByRooms(t *testing.T) {
	q := open(t, pgtest.Database(t))
	emits := make([]event.Emit, 21)
	for i := range emits {
		emits[i] = toMany(100)
		emits[i].Data = data("1")
	}
	if _, err := q.Append(t.Context(), emits); err == nil || !strings.Contains(err.Error(), "2000") {
		t.Errorf("a batch of 2,100 rooms: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := q.Append(ctx, emits[:20]); err != nil {
		t.Errorf("a batch of 2,000 rooms: %v", err)
	}
}

// AppendEach stores many emits to 100 rooms each, although together they are more than the queue gives to one
// caller.
func TestAppendEachOfManyRooms(t *testing.T) {
	q := open(t, pgtest.Database(t), func(o *queue.Options) { o.QueueBytes = 16 << 20 })
	emits := make([]event.Emit, 400)
	for i := range emits {
		emits[i] = toMany(100)
		emits[i].Data = data("%d", i)
	}
	last := event.Offset(0)
	for i, r := range q.AppendEach(t.Context(), emits) {
		if r.Err != nil || r.Cursor.Offset <= last {
			t.Fatalf("emit %d: %+v after %d", i, r, last)
		}
		last = r.Cursor.Offset
	}
}
