package queue_test

import (
	"slices"
	"testing"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// told returns the names and data of the next n events of a subscription.
func told(t testing.TB, s *queue.Subscription, n int) []string {
	t.Helper()
	var got []string
	for len(got) < n {
		b := must[event.Batch](t)(s.Next(t.Context(), 1))
		for _, e := range b.Events {
			got = append(got, e.Name+" "+e.Data)
		}
	}
	return got
}

func TestRoomsThatAskAreToldWhoComesAndGoes(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn)
	sql(t, dsn, `UPDATE culvert.namespaces SET presence = ARRAY['chat-*']`)
	join(t, a, "chat-1", "bob")
	join(t, a, "quiet", "bob")
	watch := subscribe(t, a, queue.Interest{Rooms: []event.Room{room("chat-1"), room("quiet")}})

	// Two subscriptions on two instances are one arrival.
	onA := subscribe(t, a, queue.Interest{Client: client("bob")})
	if got := told(t, watch, 1); got[0] != `culvert:join {"client":"bob"}` {
		t.Errorf("told %v", got)
	}
	onB := subscribe(t, b, queue.Interest{Client: client("bob")})
	until(t, "both hold a lease", func() bool { return leases(t, dsn) == 2 })

	// Joins and leaves of members that are online are told, too; those of other members are not.
	leave(t, b, "chat-1", "bob")
	join(t, b, "chat-1", "bob")
	join(t, b, "chat-1", "offline")
	join(t, b, "quiet", "alice")
	want := []string{`culvert:leave {"client":"bob"}`, `culvert:join {"client":"bob"}`}
	if got := told(t, watch, 2); !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}

	// One instance gives up its lease, the other one dies: the client leaves once.
	onA.Close()
	sql(t, dsn, `SELECT culvert.lease(l.instance, ARRAY[c.namespace_id], ARRAY[c.name], ARRAY['0'::interval])
		FROM culvert.leases l JOIN culvert.clients c ON c.id = l.client_id
		WHERE l.instance = (SELECT min(instance) FROM culvert.leases)`)
	onB.Close()
	sql(t, dsn, `UPDATE culvert.leases SET until = clock_timestamp()`, `SELECT culvert.expire_leases()`)
	if got := told(t, watch, 1); got[0] != want[0] {
		t.Errorf("told %v", got)
	}
	appendOne(t, a, emit("chat-1", `"end"`))
	if got := told(t, watch, 1); got[0] != `greeting "end"` {
		t.Errorf("told %v more", got)
	}
}

func leases(t testing.TB, dsn string) (n int) {
	t.Helper()
	if err := connect(t, dsn).QueryRow(t.Context(), `SELECT count(*) FROM culvert.leases`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A client between two polls is still online: its lease is kept for a while.
func TestALongPollingClientDoesNotFlap(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn)
	sql(t, dsn, `UPDATE culvert.namespaces SET presence = ARRAY['*']`)
	watch := subscribe(t, a, queue.Interest{Rooms: []event.Room{event.Everyone(), room("r")}})
	join(t, a, "r", "bob")
	for i := range 40 {
		q := []*queue.Queue{a, b}[i%2]
		s := must[*queue.Subscription](t)(q.Subscribe(t.Context(), queue.Interest{Namespace: ns, Client: client("bob")}))
		s.Close()
		if i == 0 {
			until(t, "the lease is written", func() bool { return leases(t, dsn) > 0 })
		}
	}
	appendOne(t, a, emit("r", `"end"`))
	// In the namespace-wide room, and in the one it joined.
	got := told(t, watch, 3)
	slices.Sort(got[:2])
	if want := []string{`culvert:join {"client":"bob"}`, `culvert:join {"client":"bob"}`, `greeting "end"`}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

// If a client comes online and joins a room at the same moment, the second transaction sees the first: the room
// is told once.
func TestAJoinBesideAnArrivalIsTold(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	sql(t, dsn, `UPDATE culvert.namespaces SET presence = ARRAY['*']`)
	join(t, q, "other", "bob")
	watch := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("chat")}})
	arriving, watching := connect(t, dsn), connect(t, dsn)
	execute(t, arriving, `BEGIN; SELECT culvert.lease('elsewhere', '{1}', '{bob}', '{30 s}')`)
	joined := make(chan error, 1)
	go func() {
		_, err := q.Join(t.Context(), ns, room("chat"), client("bob"), 0)
		joined <- err
	}()
	until(t, "the join waits for the arrival", func() bool {
		var waits bool
		err := watching.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)))`, arriving.PgConn().PID()).Scan(&waits)
		return err == nil && waits
	})
	execute(t, arriving, `COMMIT`)
	if err := receive(t, joined); err != nil {
		t.Fatal(err)
	}
	if got := told(t, watch, 1); got[0] != `culvert:join {"client":"bob"}` {
		t.Errorf("told %v", got)
	}
	appendOne(t, q, emit("chat", `"end"`))
	if got := told(t, watch, 1); got[0] != `greeting "end"` {
		t.Errorf("told %v more", got)
	}
}
