package queue_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
)

const lockLog = `LOCK TABLE culvert.append_lock IN SHARE UPDATE EXCLUSIVE MODE`

// holdLog takes the append lock, and returns a function that gives it back after it has run some statements.
func holdLog(t *testing.T, dsn string) (release func(statements ...string)) {
	t.Helper()
	holder := connect(t, dsn)
	execute(t, holder, `BEGIN; `+lockLog)
	return func(statements ...string) {
		t.Helper()
		for _, s := range append(statements, `COMMIT`) {
			execute(t, holder, s)
		}
	}
}

// ready waits until the instances have done what they do when they begin, which takes the append lock.
func ready(t *testing.T, qs []*queue.Queue) {
	t.Helper()
	for _, q := range qs {
		appendOne(t, q, emit("ready", "0"))
	}
	for _, q := range qs {
		until(t, "all instances follow", func() bool { return q.Read() == qs[len(qs)-1].Read() })
	}
	time.Sleep(100 * time.Millisecond)
}

func untilOffered(t *testing.T, dsn string, n int) {
	t.Helper()
	c := connect(t, dsn)
	until(t, fmt.Sprint(n, " batches are offered"), func() bool {
		return must[int](t)(count(t, c, `SELECT count(*) FROM culvert.offers WHERE waits`)) == n
	})
}

// appendOn appends an emit on each queue while something holds them up; answers has what they got, in order.
func appendOn(t *testing.T, qs []*queue.Queue, emits ...event.Emit) (answers func() []event.Result) {
	results := make([]event.Result, len(emits))
	var all sync.WaitGroup
	for i, e := range emits {
		all.Go(func() {
			r, err := qs[i].Append(t.Context(), []event.Emit{e})
			if err != nil {
				results[i].Err = err
			} else {
				results[i] = r[0]
			}
		})
	}
	return func() []event.Result {
		all.Wait()
		return results
	}
}

// Batches that come to several instances while somebody has the append lock share one transaction, and every
// instance delivers all of them, also the one that appended those of the others.
func TestInstancesShareATransaction(t *testing.T) {
	dsn := pgtest.NewServer(t, localpg.Options{Settings: map[string]string{"track_commit_timestamp": "on"}}).DSN()
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	var qs []*queue.Queue
	var readers []*queue.Subscription
	for range 3 {
		q := open(t, dsn, func(o *queue.Options) { o.Poll = time.Hour }) // by notification alone
		qs = append(qs, q)
		readers = append(readers, subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}}))
	}
	ready(t, qs)
	release := holdLog(t, dsn)
	answers := appendOn(t, qs, emit("r", "0"), emit("r", "1"), emit("r", "2"))
	untilOffered(t, dsn, 3)
	release()
	stored := map[event.Offset]string{}
	for i, r := range answers() {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		stored[r.Cursor.Offset] = strconv.Itoa(i)
	}
	c := connect(t, dsn)
	if n := must[int](t)(count(t, c, `SELECT count(DISTINCT pg_xact_commit_timestamp(e.xmin)) FROM culvert.events e JOIN culvert.rooms r ON r.id = e.room_id WHERE r.name = 'r'`)); n != 1 {
		t.Errorf("three batches took %d transactions", n)
	}
	rows := must[pgx.Rows](t)(c.Query(t.Context(), `SELECT e."offset", e.data FROM culvert.events e JOIN culvert.rooms r ON r.id = e.room_id WHERE r.name = 'r' ORDER BY 1`))
	var at event.Offset
	var text string
	var order []string
	if _, err := pgx.ForEachRow(rows, []any{&at, &text}, func() error {
		if stored[at] != text {
			t.Errorf("offset %d has %s, and was answered to the emit of %s", at, text, stored[at])
		}
		order = append(order, text)
		return nil
	}); err != nil || len(order) != 3 {
		t.Fatal(order, err)
	}
	for i, s := range readers {
		if got := next(t, s, 3); strings.Join(got, "") != strings.Join(order, "") {
			t.Errorf("a reader of instance %d got %v, not %v", i, got, order)
		}
	}
	if n := must[int](t)(count(t, c, `SELECT count(*) FROM culvert.offers`)); n != 0 {
		t.Errorf("%d offers are left", n)
	}
}

// Instances that append all the time use each other's keys. Each key is stored once, both get the same answer,
// and the events of one caller keep their order.
func TestInstancesThatAppendTogetherKeepKeysAndOrder(t *testing.T) {
	dsn := pgtest.Database(t)
	qs := []*queue.Queue{open(t, dsn), open(t, dsn)}
	const callers, emits = 8, 60
	var mu sync.Mutex
	first := map[string]event.Offset{}
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			q, last := qs[c%2], event.Offset(0)
			for i := range emits {
				e := emit("r", `[%d,%d]`, c, i)
				shared := i%3 == 0
				if shared { // the neighbour on the other instance uses the same key at about the same time
					e = emit("r", `[%d,%d]`, c/2*2, i)
					e.Key = key(fmt.Sprint(c/2, "-", i))
				}
				r, err := q.Append(t.Context(), []event.Emit{e})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if was, again := first[e.Data.JSON()]; shared && again && was != r[0].Cursor.Offset {
					t.Errorf("key %v was answered with %d and %d", e.Key, was, r[0].Cursor.Offset)
				}
				first[e.Data.JSON()] = r[0].Cursor.Offset
				mu.Unlock()
				if !r[0].Duplicate {
					if r[0].Cursor.Offset <= last {
						t.Errorf("caller %d: offset %d comes after %d", c, r[0].Cursor.Offset, last)
					}
					last = r[0].Cursor.Offset
				}
			}
		})
	}
	all.Wait()
	c := connect(t, dsn)
	want := callers*emits - callers/2*emits/3
	if n := must[int](t)(count(t, c, `SELECT count(*) FROM culvert.events`)); n != want {
		t.Errorf("%d events are stored, want %d", n, want)
	}
	if n := must[int](t)(count(t, c, `SELECT count(*) FROM culvert.events e JOIN culvert.events f ON f.data = e.data AND f."offset" <> e."offset"`)); n != 0 {
		t.Errorf("%d events are stored twice", n)
	}
}

// Connections of instances are terminated while they append together. What was answered is stored, with its
// offset, and what is repeated with its key is stored once.
func TestInstancesThatAppendTogetherLoseTheirConnections(t *testing.T) {
	dsn := pgtest.Database(t)
	qs := []*queue.Queue{open(t, dsn, quiet), open(t, dsn, quiet), open(t, dsn, quiet)}
	for _, q := range qs {
		appendOne(t, q, emit("warm", "0"))
	}
	killer, reader := connect(t, dsn), connect(t, dsn)
	var mu sync.Mutex
	stored := map[event.Offset]string{}
	var all sync.WaitGroup
	failed := 0
	stop := time.Now().Add(4 * time.Second)
	for c := range 9 {
		all.Go(func() {
			for i := 0; time.Now().Before(stop); i++ {
				e := emit("r", `"%d-%d"`, c, i)
				e.Key = key(fmt.Sprint(c, "-", i))
				for {
					r, err := qs[c%3].Append(t.Context(), []event.Emit{e})
					mu.Lock()
					if err == nil {
						stored[r[0].Cursor.Offset] = e.Data.JSON()
					} else {
						failed++
					}
					mu.Unlock()
					if err == nil {
						break
					}
					if !errors.Is(err, event.ErrUnavailable) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for time.Now().Before(stop) {
		must[int](t)(count(t, killer, `WITH appending AS MATERIALIZED (
		  SELECT pid FROM pg_stat_activity
		   WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()
		     AND (query LIKE '%FROM culvert.append%' OR query LIKE '%FROM culvert.settle_offer%')
		   ORDER BY random() LIMIT 1)
		  SELECT count(*) FROM appending WHERE pg_terminate_backend(pid)`))
		time.Sleep(20 * time.Millisecond)
	}
	all.Wait()
	rows := must[pgx.Rows](t)(reader.Query(t.Context(), `SELECT e."offset", e.data FROM culvert.events e JOIN culvert.rooms r ON r.id = e.room_id WHERE r.name = 'r'`))
	var at event.Offset
	var text string
	n := 0
	if _, err := pgx.ForEachRow(rows, []any{&at, &text}, func() error {
		n++
		if stored[at] != text {
			t.Errorf("offset %d has %s, but %q was answered with it", at, text, stored[at])
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n != len(stored) || failed < 5 {
		t.Errorf("%d events are stored, %d were answered; %d calls failed", n, len(stored), failed)
	}
}

// Ids that are outdated when another instance appends the batch are looked up again by its owner.
func TestOffersWithOutdatedIDs(t *testing.T) {
	dsn := pgtest.Database(t)
	qs := []*queue.Queue{open(t, dsn), open(t, dsn)}
	ready(t, qs)
	release := holdLog(t, dsn)
	answers := appendOn(t, qs, emit("r", "1"), emit("r", "2"))
	untilOffered(t, dsn, 2)
	release(restarted)
	for i, r := range answers() {
		if r.Err != nil {
			t.Errorf("emit %d: %v", i, r.Err)
		}
	}
	if n := must[int](t)(count(t, connect(t, dsn), `SELECT count(*) FROM culvert.events WHERE data IN ('1', '2')`)); n != 2 {
		t.Errorf("%d of 2 events are stored", n)
	}
}

// One instance's emits go to a namespace that is deleted while they are offered; they alone fail.
func TestOfferToADeletedNamespace(t *testing.T) {
	dsn := pgtest.Database(t)
	qs := []*queue.Queue{open(t, dsn, quiet), open(t, dsn, quiet)}
	other := emit("r", "1")
	other.Namespace = mustParse(event.ParseNamespace, "doomed")
	appendOne(t, qs[0], other)
	ready(t, qs)
	release := holdLog(t, dsn)
	answers := appendOn(t, qs, other, emit("r", "2"))
	untilOffered(t, dsn, 2)
	release(`SELECT culvert.delete_namespace('doomed')`)
	r := answers()
	if r[1].Err != nil {
		t.Errorf("the emit to another namespace: %v", r[1].Err)
	}
	if r[0].Err != nil && !errors.Is(r[0].Err, event.ErrDeleted) && !errors.Is(r[0].Err, event.ErrNotFound) {
		t.Errorf("the emit to the deleted namespace: %v", r[0].Err)
	}
	// If it is stored, then in a new namespace of the name: the old one gets nothing any more.
	if n := must[int](t)(count(t, connect(t, dsn), `
		SELECT count(*) FROM culvert.events e JOIN culvert.rooms r ON r.id = e.room_id JOIN culvert.namespaces n ON n.id = r.namespace_id
		 WHERE n.name IS NULL`)); n > 1 {
		t.Errorf("the deleted namespace has %d events", n)
	}
}

// A batch that Postgres refuses fails alone, though another instance tried it first.
func TestRefusedOfferFailsAlone(t *testing.T) {
	dsn := pgtest.Database(t)
	qs := []*queue.Queue{open(t, dsn, quiet), open(t, dsn, quiet), open(t, dsn, quiet)}
	ready(t, qs)
	sql(t, dsn, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'bad'; END $$`,
		`CREATE TRIGGER refuse BEFORE INSERT ON culvert.events FOR EACH ROW WHEN (NEW.event = 'bad') EXECUTE FUNCTION refuse()`)
	for round := range 6 { // who appends first is a matter of chance
		bad := emit("r", "-1")
		bad.Event = mustParse(event.ParseEventName, "bad")
		emits := []event.Emit{emit("r", "%d", 10*round+1), emit("r", "%d", 10*round+2), emit("r", "%d", 10*round+3)}
		emits[round%3] = bad
		release := holdLog(t, dsn)
		answers := appendOn(t, qs, emits...)
		untilOffered(t, dsn, 3)
		release()
		for i, r := range answers() {
			if (r.Err != nil) != (i == round%3) {
				t.Errorf("round %d: emit %d: %v", round, i, r.Err)
			}
		}
	}
	c := connect(t, dsn)
	if n := must[int](t)(count(t, c, `SELECT count(*) FROM culvert.events WHERE event <> 'bad'`)); n != 15 {
		t.Errorf("%d events are stored, not 3 and 12", n)
	}
	if n := must[int](t)(count(t, c, `SELECT count(*) FROM culvert.offers`)); n != 0 {
		t.Errorf("%d offers are left, of batches that have their answer", n)
	}
}
