package queue_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// The second instance does not know of the deletion when it appends: what it confirms must be in the new
// namespace, never in the rooms of the old one.
func TestDeletionWithAStaleDirectoryUnderLoad(t *testing.T) {
	queue.RegistryByNotificationAlone(t)
	dsn := pgtest.Database(t)
	a := open(t, dsn)
	stale := open(t, dsn, func(o *queue.Options) { o.PollOnly = true }) // gets no notifications
	tenant := namespace("tenant")
	var round, deletions atomic.Int64
	var confirmed sync.Map // data -> deletions known to be over when it was sent
	stop := make(chan struct{})
	var load sync.WaitGroup
	for i := range 8 {
		load.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				data := fmt.Sprintf(`"%d-%d"`, i, n)
				before := deletions.Load()
				e := emit(fmt.Sprintf("r%d", n%3), "%s", data)
				e.Namespace = tenant
				if _, err := stale.Append(t.Context(), []event.Emit{e}); err != nil {
					t.Error(err)
					return
				}
				confirmed.Store(data, before)
				round.Add(1)
			}
		})
	}
	for range 5 {
		seen := round.Load()
		until(t, "emits continue", func() bool { return round.Load() > seen+20 })
		if err := a.Registry().DeleteNamespace(t.Context(), tenant); err != nil {
			t.Fatal(err)
		}
		deletions.Add(1)
	}
	seen := round.Load()
	until(t, "emits continue after the last", func() bool { return round.Load() > seen+20 })
	close(stop)
	load.Wait()

	kept := map[string]bool{}
	reader := open(t, dsn)
	for i := range 3 {
		after := event.Cursor{}
		for {
			b := must[event.Batch](t)(reader.History(t.Context(), tenant, room(fmt.Sprintf("r%d", i)), event.Client{}, after, 1000))
			for _, e := range b.Events {
				kept[e.Data] = true
			}
			if after = b.Cursor; !b.More {
				break
			}
		}
	}
	late := 0
	confirmed.Range(func(data, before any) bool {
		if before.(int64) == deletions.Load() {
			late++
			if !kept[data.(string)] {
				t.Errorf("%v was confirmed after the last deletion and is missing", data)
			}
		}
		return true
	})
	if late == 0 || len(kept) == 0 {
		t.Errorf("nothing was tested: %d late, %d kept", late, len(kept))
	}
}

func TestADeletedNamespaceIsOutOfReach(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn)
	tenant := namespace("tenant")
	e := emit("r", `"old"`)
	e.Namespace, e.Key, e.From = tenant, key("k"), client("alice")
	start := a.Head()
	old := appendOne(t, a, e).Cursor
	until(t, "the other tail has it", func() bool { return b.Delivered() == old })
	var subs []*queue.Subscription
	for _, q := range []*queue.Queue{a, b} {
		for _, in := range []queue.Interest{{Client: client("bob")}, {Rooms: []event.Room{room("r")}}} {
			in.Namespace = tenant
			s := must[*queue.Subscription](t)(q.Subscribe(t.Context(), in))
			defer s.Close()
			subs = append(subs, s)
		}
	}
	if _, err := a.Ack(t.Context(), tenant, client("bob"), old); err != nil {
		t.Fatal(err)
	}
	if err := a.Registry().DeleteNamespace(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	for i, s := range subs {
		select {
		case <-s.Wake():
		case <-time.After(20 * time.Second):
			t.Errorf("subscription %d does not end", i)
		}
		if _, err := s.Next(t.Context(), 10); !errors.Is(err, event.ErrDeleted) {
			t.Errorf("subscription %d: %v", i, err)
		}
	}
	var left int
	const count = `SELECT (SELECT count(*) FROM culvert.rooms r WHERE r.namespace_id > 1) + (SELECT count(*) FROM culvert.clients)
	            + (SELECT count(*) FROM culvert.keys) + (SELECT count(*) FROM culvert.staged)`
	if err := connect(t, dsn).QueryRow(t.Context(), count).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d rows are left, %v", left, err)
	}
	for i, q := range []*queue.Queue{a, b} {
		if _, err := q.Registry().Namespace(t.Context(), tenant); i == 0 && !errors.Is(err, event.ErrNotFound) {
			t.Errorf("the namespace is still there: %v", err)
		}
		if _, err := q.ClientState(t.Context(), tenant, client("bob"), nil); !errors.Is(err, event.ErrNotFound) {
			t.Errorf("the client of the namespace is still there: %v", err)
		}
		// Reading from before the deletion gives only new events, from memory and from Postgres.
		s := must[*queue.Subscription](t)(q.Subscribe(t.Context(), queue.Interest{Namespace: tenant, Rooms: []event.Room{room("r")}, After: start}))
		defer s.Close()
		if b := must[event.Batch](t)(s.Poll(t.Context(), 10)); len(b.Events) != 0 && i == 0 || b.Gap != nil {
			t.Errorf("instance %d shows %d old events, gap %v", i, len(b.Events), b.Gap)
		}
		e.Data = data(`"new-%d"`, i)
		e.Key = key(fmt.Sprintf("k%d", i))
		r := appendOne(t, q, e)
		if r.Duplicate {
			t.Error("a key of the deleted namespace counts")
		}
		h := must[event.Batch](t)(q.History(t.Context(), tenant, room("r"), event.Client{}, event.Cursor{}, 10))
		if len(h.Events) != i+1 || h.Events[0].Data != `"new-0"` || h.Gap != nil {
			t.Errorf("instance %d has %d events, gap %v", i, len(h.Events), h.Gap)
		}
	}
	// Slices with events of deleted rooms are followed and dropped.
	if got := next(t, subscribe(t, open(t, dsn), queue.Interest{Rooms: []event.Room{room("none")}, Earliest: true}), 0); len(got) != 0 {
		t.Error(got)
	}
	sql(t, dsn, `SELECT culvert.rotate('0', 1)`, `SELECT culvert.prune('0', 0)`)
}

// An instance that follows the log may come to events of a namespace that was deleted meanwhile.
func TestFollowingWhatADeletionLeftBehind(t *testing.T) {
	dsn := pgtest.Database(t)
	a := open(t, dsn)
	behind := open(t, dsn, func(o *queue.Options) { o.PollOnly, o.Poll = true, time.Hour })
	s := subscribe(t, behind, queue.Interest{Rooms: []event.Room{room("r")}})
	e := emit("r", "1")
	e.Namespace = namespace("tenant")
	appendOne(t, a, e)
	if err := a.Registry().DeleteNamespace(t.Context(), e.Namespace); err != nil {
		t.Fatal(err)
	}
	appendOne(t, a, emit("r", "2"))
	appendOne(t, behind, emit("r", "3")) // finds out that it is behind
	if got := next(t, s, 2); got[0] != "2" || got[1] != "3" {
		t.Errorf("got %v", got)
	}
}

// A join by an instance with old ids is not lost, and never puts a client into a room of the deleted namespace.
func TestJoinWithAStaleDirectory(t *testing.T) {
	queue.RegistryByNotificationAlone(t)
	dsn := pgtest.Database(t)
	a := open(t, dsn)
	stale := open(t, dsn, func(o *queue.Options) { o.PollOnly = true })
	tenant, bob := namespace("tenant"), client("bob")
	join := func(r string) {
		if _, err := stale.Join(t.Context(), tenant, room(r), bob, 0); err != nil {
			t.Fatal(err)
		}
	}
	join("before")
	if err := a.Registry().DeleteNamespace(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	join("after")
	state := must[queue.ClientState](t)(open(t, dsn).ClientState(t.Context(), tenant, bob, nil))
	if len(state.Rooms) != 3 || state.Rooms[2] != room("after") {
		t.Errorf("rooms %v", state.Rooms)
	}
}

// An answered ack is stored in the new namespace, not in the deleted one.
func TestAckWithAStaleDirectory(t *testing.T) {
	queue.RegistryByNotificationAlone(t)
	dsn := pgtest.Database(t)
	a := open(t, dsn)
	stale := open(t, dsn, func(o *queue.Options) { o.PollOnly = true })
	tenant, bob := namespace("tenant"), client("bob")
	must[event.Cursor](t)(stale.Ack(t.Context(), tenant, bob, stale.Head()))
	if err := a.Registry().DeleteNamespace(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	head := appendOne(t, a, emit("r", "1")).Cursor
	must[event.Cursor](t)(stale.Ack(t.Context(), tenant, bob, head))
	state, err := open(t, dsn).ClientState(t.Context(), tenant, bob, nil)
	if err != nil || state.Cursor != head {
		t.Errorf("the stored cursor is %v, %v; the answer was %v", state.Cursor, err, head)
	}
}

// Namespaces that are deleted in quick succession make ids outdated again and again, which
// is not a reason to refuse an ack.
func TestIdsAreLookedUpAgainAsOftenAsNeeded(t *testing.T) {
	q := open(t, pgtest.Database(t))
	outdated := &pgconn.PgError{Code: "CV001"}
	for failures, want := range map[int]error{5: nil, 100: outdated} {
		calls := 0
		err := q.WithIDs(t.Context(), func() error {
			if calls++; calls <= failures {
				return outdated
			}
			return nil
		})
		if !errors.Is(err, want) || calls > 20 {
			t.Errorf("ids were outdated %d times: %v after %d calls", failures, err, calls)
		}
	}
}
