package queue_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// online subscribes clients and waits until their leases are written.
func online(t testing.TB, q *queue.Queue, names ...string) {
	t.Helper()
	for _, name := range names {
		subscribe(t, q, queue.Interest{Client: client(name)})
	}
	until(t, "the clients are online", func() bool {
		return !slices.ContainsFunc(names, func(name string) bool {
			s, err := q.ClientState(t.Context(), ns, client(name), nil)
			return err != nil || !s.Online
		})
	})
}

// member makes a client a member of a room after an offset, until another (0: still).
func member(t testing.TB, dsn, name, room string, since, until event.Offset) {
	t.Helper()
	conn := connect(t, dsn)
	for _, sql := range []string{
		`INSERT INTO culvert.clients (namespace_id, name, cursor) VALUES (1, $1, 0) ON CONFLICT DO NOTHING`,
		`INSERT INTO culvert.rooms (namespace_id, name) VALUES (1, $1) ON CONFLICT DO NOTHING`,
	} {
		arg := map[bool]string{true: name, false: room}[sql[20] == 'c']
		if _, err := conn.Exec(t.Context(), sql, arg); err != nil {
			t.Fatal(err)
		}
	}
	_, err := conn.Exec(t.Context(), `
		INSERT INTO culvert.memberships (client_id, room_id, since, until)
		SELECT c.id, r.id, $3, NULLIF($4::bigint, 0)
		  FROM culvert.clients c, culvert.rooms r
		 WHERE c.name = $1 AND r.name = $2`, name, room, int64(since), int64(until))
	if err != nil {
		t.Fatal(err)
	}
}

// ask emits an event to a room, and asks for count replies to it (0: the default).
func ask(t testing.TB, q *queue.Queue, room string, count int, change ...func(*event.Emit)) event.Offset {
	t.Helper()
	e := emit(room, `"?"`)
	e.Reply = event.Ask{Timeout: time.Minute, Count: count}
	for _, c := range change {
		c(&e)
	}
	return appendOne(t, q, e).Cursor.Offset
}

func from(name string) func(*event.Emit) { return func(e *event.Emit) { e.From = client(name) } }

func within(d time.Duration) func(*event.Emit) {
	return func(e *event.Emit) { e.Reply.Timeout = d }
}

func except(rooms ...string) func(*event.Emit) {
	return func(e *event.Emit) {
		for _, r := range rooms {
			e.Except = append(e.Except, room(r))
		}
	}
}

// answer replies as a client; "" is the backend.
func answer(t testing.TB, q *queue.Queue, to event.Offset, name, format string, args ...any) (again bool, err error) {
	t.Helper()
	r := queue.Reply{Namespace: ns, To: to, Data: data(format, args...)}
	if name != "" {
		r.From = client(name)
	} else {
		r.May = func(event.Room) bool { return true }
	}
	return q.Reply(t.Context(), r)
}

func answered(t testing.TB, q *queue.Queue, to event.Offset, name, format string, args ...any) {
	t.Helper()
	if again, err := answer(t, q, to, name, format, args...); again || err != nil {
		t.Fatalf("reply by %q: again %v, %v", name, again, err)
	}
}

func same(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

const long = 20 * time.Second

func TestTheFirstSoManyWin(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn)
	to := ask(t, a, "*", 2)
	wait := awaiting(t, b, to, long)
	results := make(chan error, 20)
	for i := range cap(results) {
		go func() {
			_, err := answer(t, []*queue.Queue{a, b}[i%2], to, fmt.Sprint("c", i), "1")
			results <- err
		}()
	}
	won := 0
	for range cap(results) {
		if err := <-results; err == nil {
			won++
		} else if !errors.Is(err, event.ErrReplyClosed) {
			t.Error(err)
		}
	}
	if got := wait(); won != 2 || len(got) != 2 {
		t.Errorf("%d replies were accepted, and the waiting emit got %v", won, got)
	}
}

func TestWhoMayReply(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	for _, name := range []string{"bob", "dave", "frank"} {
		member(t, dsn, name, "lobby", 0, map[string]event.Offset{"dave": 1}[name])
	}
	plain := appendOne(t, q, emit("lobby", "1")).Cursor.Offset
	to := ask(t, q, "lobby", 0, except("@frank"))
	member(t, dsn, "late", "lobby", to, 0)
	for name, want := range map[string]error{
		"bob": nil, "dave": event.ErrNoAsk, "frank": event.ErrNoAsk, "late": event.ErrNoAsk, "stranger": event.ErrNoAsk, "": nil,
	} {
		if _, err := answer(t, q, to, name, "1"); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
	allowed := queue.Reply{Namespace: ns, To: to, From: client("reader"), May: func(r event.Room) bool { return r == room("lobby") }}
	if _, err := q.Reply(t.Context(), allowed); err != nil {
		t.Errorf("a client that may read the room: %v", err)
	}
	allowed.From = client("frank")
	if _, err := q.Reply(t.Context(), allowed); !errors.Is(err, event.ErrNoAsk) {
		t.Errorf("an excepted client that may read the room: %v", err)
	}
	elsewhere := queue.Reply{Namespace: mustParse(event.ParseNamespace, "other"), To: to, May: func(event.Room) bool { return true }}
	if _, err := q.Reply(t.Context(), elsewhere); !errors.Is(err, event.ErrNoAsk) {
		t.Errorf("a reply from another namespace: %v", err)
	}
	for _, to := range []event.Offset{plain, to + 1000, 0} {
		if _, err := answer(t, q, to, "bob", "1"); !errors.Is(err, event.ErrNoAsk) {
			t.Errorf("a reply to %d, which asked for nothing: %v", to, err)
		}
		if _, err := q.Await(t.Context(), ns, to); !errors.Is(err, event.ErrNoAsk) {
			t.Errorf("waiting for replies to %d, which asked for nothing: %v", to, err)
		}
	}
}

func TestRepeatedKeyIsTheSameAsk(t *testing.T) {
	q := open(t, pgtest.Database(t))
	keyed := func(e *event.Emit) { e.Key = key("k") }
	to := ask(t, q, "*", 1, keyed)
	if again := ask(t, q, "*", 1, keyed); again != to {
		t.Errorf("repeated at %d, first at %d", again, to)
	}
	e := emit("*", `"?"`)
	e.Key, e.Reply = key("k"), event.Ask{Timeout: time.Minute, Count: 2}
	if _, err := q.Append(t.Context(), []event.Emit{e}); !errors.Is(err, event.ErrKeyReused) {
		t.Errorf("the same key with another count: %v", err)
	}
}

// Replies to a backend without a client go to a room that nobody can name, so only a caller that waits gets
// them.
func TestHiddenRoomIsHidden(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn)
	start := a.Head()
	to := ask(t, a, "*", 1)
	wait := awaiting(t, b, to, long)
	answered(t, a, to, "bob", "1")
	same(t, "the backend", wait(), "bob:1")
	until(t, "both are at the reply", func() bool { return a.Delivered().Offset > to && b.Delivered().Offset > to })
	for _, name := range []string{"bob", "alice"} {
		s := subscribe(t, a, queue.Interest{Client: client(name), After: start})
		if got := next(t, s, 1); got[0] != `"?"` {
			t.Errorf("%s got %v", name, got)
		}
		if more := must[event.Batch](t)(s.Poll(t.Context(), 10)); len(more.Events) != 0 {
			t.Errorf("%s got %+v", name, more.Events[0])
		}
	}
	if _, err := event.ParseRoom("\x01replies"); err == nil {
		t.Error("the hidden room can be named")
	}
}

func TestReplyDataKeepsItsForm(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	alice := subscribe(t, q, queue.Interest{Client: client("alice")})
	to := ask(t, q, "nowhere", 0, from("alice"))
	d := must[event.Data](t)(event.ParseBinary("AAECAw=="))
	name := `<"\>&ü`
	r := queue.Reply{Namespace: ns, To: to, From: client(name), Data: d, May: func(event.Room) bool { return true }}
	if _, err := q.Reply(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if got, want := next(t, alice, 1)[0], fmt.Sprintf(`{"to":%d,"from":"<\"\\>&ü","binary":"AAECAw=="}`, to); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	replies := must[queue.Replies](t)(q.Await(t.Context(), ns, to))
	if a := replies.Answers; len(a) != 1 || a[0].From != client(name) || a[0].Data != d {
		t.Errorf("got %+v", a)
	}
	same(t, "from the backend", func() []string { answered(t, q, to, "", "null"); return next(t, alice, 1) }(),
		fmt.Sprintf(`{"to":%d,"from":null,"data":null}`, to))
}

// Replies that wait for Postgres are bounded by their bytes.
func TestRepliesThatWaitAreBoundedByBytes(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, func(o *queue.Options) { o.QueueBytes = 8 << 20 })
	to := ask(t, q, "asked", 1000)
	tx := must[pgx.Tx](t)(connect(t, dsn).Begin(t.Context()))
	if _, err := tx.Exec(t.Context(), `SELECT FROM culvert.asks WHERE "offset" = $1 FOR UPDATE`, to); err != nil {
		t.Fatal(err)
	}
	const n = 40 // 10 MiB, which are held three times
	results := make(chan error, n)
	large := data(`"%s"`, strings.Repeat("x", event.MaxData-2))
	send := func(i int, d event.Data) {
		_, err := q.Reply(t.Context(), queue.Reply{Namespace: ns, To: to, From: client(fmt.Sprint("c", i)), Data: d, May: func(event.Room) bool { return true }})
		results <- err
	}
	for i := range n {
		go send(i, large)
	}
	for range n - 11 { // at most 10 of them fit
		if err := receive(t, results); !errors.Is(err, event.ErrOverloaded) {
			t.Fatalf("a reply that is too much is answered with %v", err)
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 11 {
		if err := receive(t, results); err != nil && !errors.Is(err, event.ErrOverloaded) {
			t.Error(err)
		}
	}
	if send(n, data("1")); <-results != nil {
		t.Error("a reply is refused after those that waited were stored")
	}
}
