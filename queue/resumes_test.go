package queue_test

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// atOnce opens a subscription for each interest at the same time, and returns them in order.
func atOnce(t *testing.T, q *queue.Queue, all []queue.Interest) []*queue.Subscription {
	t.Helper()
	subs, errs := make([]*queue.Subscription, len(all)), make([]error, len(all))
	var done sync.WaitGroup
	for i, in := range all {
		in.Namespace = ns
		done.Go(func() { subs[i], errs[i] = q.Subscribe(t.Context(), in) })
	}
	done.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("%v: %v", all[i].Client, err)
		}
		t.Cleanup(subs[i].Close)
	}
	return subs
}

// Clients that come at once share statements, and new ones are stored in them, too.
func TestClientsThatComeAtOnceShareStatements(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	appendOne(t, q, emit("*", "0"))
	const clients = 2_000
	interests := make([]queue.Interest, clients)
	for i := range interests {
		interests[i].Client = client(fmt.Sprint("c", i))
	}
	var subs []*queue.Subscription
	for _, what := range []string{"new ones", "the same again"} {
		if n := queriesOf(q, func() { subs = atOnce(t, q, interests) }); n > 100 {
			t.Errorf("%d clients, %s, took %d queries", clients, what, n)
		}
	}
	var stored int
	if err := connect(t, dsn).QueryRow(t.Context(), `SELECT count(*) FROM culvert.clients`).Scan(&stored); err != nil || stored != clients {
		t.Errorf("%d clients are stored, want %d: %v", stored, clients, err)
	}
	appendOne(t, q, emit("@c7", "1"))
	if got := next(t, subs[7], 1); got[0] != "1" {
		t.Errorf("client 7 gets %v", got)
	}
}

// Each one of a batch begins where it asks to, and reads its own rooms.
func TestEachOfABatchBeginsWhereItIs(t *testing.T) {
	q := open(t, pgtest.Database(t))
	first := appendOne(t, q, emit("*", "1")).Cursor
	names := []string{"stored", "after", "earliest", "new", "acked", "rooms"}
	for _, name := range names {
		if name != "new" {
			subscribe(t, q, queue.Interest{Client: client(name)}).Close() // begins after the first event
		}
	}
	const rooms = 150 // more than a batch reads of one client
	for i := range rooms {
		must[event.Cursor](t)(q.Join(t.Context(), ns, room("r"+strconv.Itoa(i)), client("rooms"), 0))
	}
	must[event.Cursor](t)(q.Join(t.Context(), ns, room("a"), client("after"), 0))
	second := appendOne(t, q, emit("*", "2")).Cursor
	must[event.Cursor](t)(q.Ack(t.Context(), ns, client("acked"), second))
	appendOne(t, q, emit("a", `"a"`))
	appendOne(t, q, emit("r149", `"r149"`))
	want := map[string][]string{
		"stored": {"2", "3"}, "after": {"2", `"a"`, "3"}, "earliest": {"1", "2", "3"}, "new": {"3"}, "acked": {"3"}, "rooms": {"2", `"r149"`, "3"},
	}
	for round := range 5 { // which of them share a batch is a matter of chance
		var all []queue.Interest
		for _, name := range names {
			in := queue.Interest{Client: client(name)}
			switch name {
			case "new":
				in.Client = client(fmt.Sprint(name, round))
			case "after":
				in.After = first
			case "earliest":
				in.Earliest = true
			}
			all = append(all, in)
		}
		subs := atOnce(t, q, all)
		if round == 0 {
			appendOne(t, q, emit("*", "3"))
		}
		for i, name := range names {
			if name == "new" && round > 0 {
				continue // it begins after all events
			}
			if got := next(t, subs[i], len(want[name])); !slices.Equal(got, want[name]) {
				t.Errorf("%s gets %v, want %v", name, got, want[name])
			}
		}
	}
}
