package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
)

// server is a Postgres with the schema, for one test alone.
func server(t *testing.T, settings map[string]string) *localpg.Server {
	t.Helper()
	s := pgtest.NewServer(t, localpg.Options{Settings: settings})
	if err := migrations.Up(t.Context(), s.DSN()); err != nil {
		t.Fatal(err)
	}
	return s
}

// given has every offset that a test was given, in any history.
type given struct {
	mu  sync.Mutex
	all map[event.Offset]string
}

// add fails the test when an offset was given to another event before.
func (g *given) add(t testing.TB, o event.Offset, data string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all == nil {
		g.all = map[event.Offset]string{}
	}
	if before, again := g.all[o]; again {
		t.Errorf("offset %d was given to both %s and %s", o, before, data)
	}
	g.all[o] = data
}

// emit appends until Postgres takes it, and remembers the offset.
func (g *given) emit(t testing.TB, q *queue.Queue, e event.Emit) event.Cursor {
	t.Helper()
	var c event.Cursor
	until(t, "the emit is taken", func() bool {
		r, err := q.Append(t.Context(), []event.Emit{e})
		if err != nil && !errors.Is(err, event.ErrUnavailable) {
			t.Fatal(err)
		}
		if err == nil {
			c = r[0].Cursor
		}
		return err == nil
	})
	g.add(t, c.Offset, e.Data.JSON())
	return c
}

// rewound expects a gap as the next thing a subscription gets; from is zero if the cursor may have moved with
// the head.
func rewound(t testing.TB, s *queue.Subscription, from, to event.Cursor) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		b, err := s.Next(ctx, 100)
		if errors.Is(err, event.ErrUnavailable) {
			continue // Poll is called again, as package api does
		}
		if err != nil {
			t.Fatal(err)
		}
		want := event.Gap{From: from, To: to, Reason: event.GapRewound}
		if b.Gap != nil && from.IsZero() {
			want.From = b.Gap.From
		}
		if b.Gap == nil || *b.Gap != want {
			t.Fatalf("got gap %v and %d events, want %v", b.Gap, len(b.Events), want)
		}
		return
	}
}

// patient is next, but keeps trying while Postgres is unavailable.
func patient(t testing.TB, s *queue.Subscription, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []string
	for len(got) < n {
		b, err := s.Next(ctx, 100)
		if err != nil && !errors.Is(err, event.ErrUnavailable) {
			t.Fatalf("after %v: %v", got, err)
		}
		if b.Gap != nil {
			t.Fatalf("after %v: unexpected gap %v", got, *b.Gap)
		}
		for _, e := range b.Events {
			got = append(got, e.Data)
		}
	}
	return got
}

// A snapshot of the volume or a base backup is restored twice in a row, without a new timeline, and no instance
// is told of it: readers that were ahead get a gap and all that came instead, and no offset is assigned twice.
func TestABackupPutBackIsToldToWhoWasAhead(t *testing.T) {
	for name, backup := range map[string]func(testing.TB, *localpg.Server) *pgtest.Copy{
		"snapshot": pgtest.Snapshot, "base backup": pgtest.BaseBackup,
	} {
		t.Run(name, func(t *testing.T) {
			var offsets given
			server := server(t, nil)
			q := open(t, server.DSN())
			bob := subscribe(t, q, queue.Interest{Client: client("bob")})
			r := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}})
			var last event.Cursor
			for i := range 5 {
				last = offsets.emit(t, q, emit("r", "%d", i))
			}
			next(t, r, 5)
			copied := backup(t, server)
			other := open(t, server.DSN()) // closed before the server stops
			ahead := last
			for round := range 2 {
				for i := range 5 {
					ahead = offsets.emit(t, q, emit("r", `"lost %d/%d"`, round, i))
				}
				patient(t, r, 5)
				offsets.emit(t, other, emit("*", `"lost for bob"`))
				patient(t, bob, 1)
				bobAt := bob.Cursor()
				copied.PutBack(t)

				offsets.emit(t, other, emit("*", `"kept for bob %d"`, round))
				offsets.emit(t, q, emit("r", `"kept %d"`, round))
				rewound(t, r, ahead, last)
				rewound(t, bob, bobAt, last)
				if got, want := patient(t, r, 1), []string{fmt.Sprintf(`"kept %d"`, round)}; !slices.Equal(got, want) {
					t.Errorf("r continues with %v, want %v", got, want)
				}
				if got, want := patient(t, bob, 1), []string{fmt.Sprintf(`"kept for bob %d"`, round)}; !slices.Equal(got, want) {
					t.Errorf("bob continues with %v, want %v", got, want)
				}

				fresh := open(t, server.DSN()) // an instance that was not there before
				for name, q := range map[string]*queue.Queue{"running": q, "started": fresh} {
					late := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}, After: ahead})
					rewound(t, late, ahead, last)
					next(t, late, 1)
					h := must[event.Batch](t)(q.History(t.Context(), ns, room("r"), event.Client{}, ahead, 10))
					if h.Gap == nil || h.Gap.Reason != event.GapRewound || h.Gap.To != last {
						t.Errorf("%s: history after a lost position: gap %v", name, h.Gap)
					}
					if _, err := q.Ack(t.Context(), ns, client("bob"), ahead); !errors.Is(err, event.ErrBeyondHead) {
						t.Errorf("%s: a lost position was acknowledged: %v", name, err)
					}
				}
			}
		})
	}
}

// An instance that ran on while a backup was restored remembers ids that belong to other rooms and namespaces
// now.
func TestABackupPutBackMixesNoRooms(t *testing.T) {
	var offsets given
	server := server(t, nil)
	q := open(t, server.DSN())
	offsets.emit(t, q, emit("r", "0"))
	copied := pgtest.BaseBackup(t, server)
	in := func(namespace, r, data string) event.Emit {
		e := emit(r, `"%s"`, data)
		e.Namespace = mustParse(event.ParseNamespace, namespace)
		return e
	}
	secret, bank := in("default", "board of directors", "secret"), in("bank", "r", "money")
	offsets.emit(t, q, secret)
	offsets.emit(t, q, bank)
	if _, err := q.Join(t.Context(), bank.Namespace, room("r"), client("teller"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Ack(t.Context(), bank.Namespace, client("teller"), q.Head()); err != nil {
		t.Fatal(err)
	}
	copied.PutBack(t)

	other := open(t, server.DSN())
	public, game := in("default", "public", "for all"), in("game", "public", "for players")
	for _, e := range []event.Emit{public, game} { // they get the ids that q remembers
		offsets.emit(t, other, e)
	}
	if _, err := q.ClientState(t.Context(), bank.Namespace, client("teller"), nil); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("a client that the restore lost: %v", err)
	}
	if _, err := q.Join(t.Context(), bank.Namespace, room("r"), client("teller"), 0); err != nil {
		t.Error(err)
	}
	offsets.emit(t, q, secret)
	offsets.emit(t, q, bank)
	if _, err := q.Ack(t.Context(), bank.Namespace, client("teller"), q.Head()); err != nil {
		t.Error(err)
	}
	for _, q := range []*queue.Queue{q, other} {
		for _, e := range []event.Emit{public, game, secret, bank} {
			h := must[event.Batch](t)(q.History(t.Context(), e.Namespace, e.Rooms[0], event.Client{}, event.Cursor{}, 10))
			var got []string
			for _, found := range h.Events {
				got = append(got, found.Data)
			}
			if want := []string{e.Data.JSON()}; !slices.Equal(got, want) {
				t.Errorf("%s/%s has %v, want %v", e.Namespace, e.Rooms[0], got, want)
			}
		}
		rooms := must[[]queue.RoomState](t)(q.Rooms(t.Context(), game.Namespace, event.Room{}, 10))
		members := must[[]queue.Member](t)(q.Members(t.Context(), game.Namespace, event.Everyone(), event.Client{}, 10))
		if len(rooms) != 1 || len(members) != 0 {
			t.Errorf("game has rooms %v and members %v of others", rooms, members)
		}
	}
}

// Under load by two instances, nothing that was stored after the restore is skipped, and no offset is assigned
// twice.
func TestABackupPutBackUnderLoad(t *testing.T) {
	var offsets given
	server := server(t, nil)
	instances := []*queue.Queue{open(t, server.DSN()), open(t, server.DSN())}
	offsets.emit(t, instances[0], emit("r", "0"))
	copied := pgtest.BaseBackup(t, server)
	readers := []*queue.Subscription{
		subscribe(t, instances[0], queue.Interest{Client: client("bob"), Rooms: []event.Room{room("r")}}),
		subscribe(t, instances[1], queue.Interest{Rooms: []event.Room{room("r")}}),
	}
	ctx, stop := context.WithCancel(t.Context())
	var emitting sync.WaitGroup
	for i, q := range instances {
		emitting.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if r, err := q.Append(context.WithoutCancel(ctx), []event.Emit{emit("r", `"%d-%d"`, i, n)}); err == nil {
					offsets.add(t, r[0].Cursor.Offset, fmt.Sprintf("%d-%d", i, n))
				}
			}
		})
	}
	before := func() int { offsets.mu.Lock(); defer offsets.mu.Unlock(); return len(offsets.all) }
	for range 2 {
		n := before()
		until(t, "some are stored", func() bool { return before() > n+50 })
		copied.PutBack(t)
		n = before()
		until(t, "some are stored after it", func() bool { return before() > n+50 })
	}
	stop()
	emitting.Wait()
	end := offsets.emit(t, instances[0], emit("r", `"end"`))

	conn := connect(t, server.DSN())
	var first, stored int
	err := conn.QueryRow(t.Context(), `SELECT max(r.first), (SELECT count(*) FROM culvert.events e WHERE e."offset" > max(r.first)) FROM culvert.runs r`).Scan(&first, &stored)
	if err != nil || stored < 50 {
		t.Fatal(stored, err)
	}
	for i, s := range readers {
		got := map[event.Offset]bool{}
		told := false
		for s.Cursor() != end {
			b, err := s.Next(t.Context(), 1000)
			if err != nil && !errors.Is(err, event.ErrUnavailable) {
				t.Fatal(err)
			}
			told = told || b.Gap != nil && b.Gap.Reason == event.GapRewound
			for _, e := range b.Events {
				if int(e.Offset) > first {
					got[e.Offset] = true
				}
			}
		}
		if len(got) != stored {
			t.Errorf("reader %d got %d of %d events; told of a gap: %v", i, len(got), stored, told)
		}
	}
}
