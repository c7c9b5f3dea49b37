package queue_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

func join(t testing.TB, q *queue.Queue, r, c string) event.Cursor {
	t.Helper()
	return must[event.Cursor](t)(q.Join(t.Context(), ns, room(r), client(c), 0))
}

func leave(t testing.TB, q *queue.Queue, r, c string) event.Cursor {
	t.Helper()
	return must[event.Cursor](t)(q.Leave(t.Context(), ns, room(r), client(c)))
}

// A change holds on open subscriptions of every instance, at one position, and catching up afterwards gives the
// same events.
func TestAMemberSeesWhatCameWhileItWasOne(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn)
	start := a.Head()
	onA := subscribe(t, a, queue.Interest{Client: client("bob")})
	onB := subscribe(t, b, queue.Interest{Client: client("bob")})

	appendOne(t, a, emit("lobby", `"before"`))
	joined := join(t, b, "lobby", "bob")
	if again := join(t, a, "lobby", "bob"); again != joined {
		t.Errorf("joining again moved the interval from %v to %v", joined, again)
	}
	appendOne(t, a, emit("lobby", `"member"`))
	left := leave(t, a, "lobby", "bob")
	appendOne(t, b, emit("lobby", `"between"`))
	if left.Offset <= joined.Offset {
		t.Errorf("joined at %v, left at %v", joined, left)
	}
	join(t, b, "lobby", "bob")
	appendOne(t, a, emit("lobby", `"again"`))

	later := open(t, dsn, queue.Cold)
	byPage := subscribe(t, later, queue.Interest{Client: client("bob"), After: start})
	want := []string{`"member"`, `"again"`}
	for name, s := range map[string]*queue.Subscription{"where it emits": onA, "elsewhere": onB, "from Postgres": byPage} {
		if got := next(t, s, 2); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	state := must[queue.ClientState](t)(a.ClientState(t.Context(), ns, client("bob"), nil))
	if state.Lag != 2 || len(state.Rooms) != 3 || state.Rooms[2] != room("lobby") {
		t.Errorf("state %+v", state)
	}
}

func TestAClientInSeveralAddressedRoomsGetsTheEventOnce(t *testing.T) {
	q := open(t, pgtest.Database(t))
	s := subscribe(t, q, queue.Interest{Client: client("bob")})
	for _, r := range []string{"a", "b", "c"} {
		join(t, q, r, "bob")
	}
	e := emit("x", "1")
	e.Rooms = []event.Room{room("c"), room("b"), event.Everyone()}
	appendOne(t, q, e)
	appendOne(t, q, emit("a", "2"))
	if got := next(t, s, 2); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("got %v", got)
	}
}

// Except concerns the rooms that the client was in at the event's position, however the event is read.
func TestExceptIsAboutTheRoomsOfTheTime(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	paged := open(t, dsn, func(o *queue.Options) { o.TailEvents = 1 })
	start := q.Head()
	bob := client("bob")
	live := subscribe(t, q, queue.Interest{Client: bob})
	adHoc := subscribe(t, q, queue.Interest{Client: bob, Rooms: []event.Room{room("lobby")}})
	join(t, q, "lobby", "bob")
	say := func(text string) {
		e := emit("lobby", "%s", text)
		e.Except = []event.Room{room("muted")}
		appendOne(t, q, e)
	}
	say("1")
	join(t, q, "muted", "bob")
	say("2")
	leave(t, q, "muted", "bob")
	say("3")
	appendOne(t, q, emit("lobby", "4"))

	want := []string{"1", "3", "4"}
	for name, s := range map[string]*queue.Subscription{
		"live": live, "ad hoc": adHoc,
		"from Postgres": subscribe(t, paged, queue.Interest{Client: bob, After: start}),
	} {
		if got := next(t, s, 3); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	h := must[event.Batch](t)(paged.History(t.Context(), ns, room("lobby"), bob, start, 10))
	var got []string
	for _, e := range h.Events {
		got = append(got, e.Data)
	}
	if !slices.Equal(got, want) {
		t.Errorf("history: %v, want %v", got, want)
	}
}

func TestForgettingEndsWhatIsOpenOnEveryInstance(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn)
	s := subscribe(t, a, queue.Interest{Client: client("bob")})
	join(t, a, "lobby", "bob")
	if err := b.Forget(t.Context(), ns, client("bob")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := s.Next(ctx, 10); !errors.Is(err, event.ErrForgotten) {
		t.Errorf("the subscription ended with %v", err)
	}
	if _, err := a.ClientState(t.Context(), ns, client("bob"), nil); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("state: %v", err)
	}
	if err := b.Forget(t.Context(), ns, client("bob")); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("again: %v", err)
	}
	if m := must[[]queue.Member](t)(a.Members(t.Context(), ns, room("lobby"), event.Client{}, 10)); len(m) != 0 {
		t.Errorf("members %v", m)
	}
	// A client that comes with that name later is a new one.
	s = subscribe(t, b, queue.Interest{Client: client("bob")})
	appendOne(t, a, emit("lobby", "1"))
	appendOne(t, a, emit("*", "2"))
	if got := next(t, s, 1); got[0] != "2" {
		t.Errorf("got %v", got)
	}
}

func TestListsOfRoomsAndMembers(t *testing.T) {
	q := open(t, pgtest.Database(t))
	join(t, q, "b", "bob")
	join(t, q, "b", "alice")
	since := join(t, q, "a", "bob")
	last := appendOne(t, q, emit("b", "1")).Cursor
	subscribe(t, q, queue.Interest{Client: client("bob")})
	until(t, "bob is online", func() bool {
		m := must[[]queue.Member](t)(q.Members(t.Context(), ns, room("b"), event.Client{}, 10))
		return len(m) == 2 && m[0].Client == client("alice") && !m[0].Online && m[1].Client == client("bob") && m[1].Online
	})
	if m := must[[]queue.Member](t)(q.Members(t.Context(), ns, room("a"), event.Client{}, 10)); m[0].Since != since {
		t.Errorf("since %v, want %v", m[0].Since, since)
	}
	if m := must[[]queue.Member](t)(q.Members(t.Context(), ns, event.Everyone(), client("alice"), 10)); len(m) != 1 || m[0].Client != client("bob") {
		t.Errorf("everyone after alice: %v", m)
	}
	want := []queue.RoomState{{Room: room("a"), Members: 1}, {Room: room("b"), Members: 2, Last: last.Offset}}
	if got := must[[]queue.RoomState](t)(q.Rooms(t.Context(), ns, event.Room{}, 10)); !slices.Equal(got, want) {
		t.Errorf("rooms %v, want %v", got, want)
	}
	if got := must[[]queue.RoomState](t)(q.Rooms(t.Context(), ns, room("a"), 1)); !slices.Equal(got, want[1:]) {
		t.Errorf("rooms after a: %v", got)
	}
}

func TestWhoMayNotJoin(t *testing.T) {
	q := open(t, pgtest.Database(t))
	var invalid *event.InvalidError
	for _, r := range []string{"*", "@bob", "@"} {
		if _, err := q.Join(t.Context(), ns, room(r), client("bob"), 0); !errors.As(err, &invalid) || invalid.Field != "room" {
			t.Errorf("join %q: %v", r, err)
		}
		if _, err := q.Leave(t.Context(), ns, room(r), client("bob")); !errors.As(err, &invalid) {
			t.Errorf("leave %q: %v", r, err)
		}
	}
	for i := range 3 {
		_, err := q.Join(t.Context(), ns, room(fmt.Sprint("r", i)), client("bob"), 2)
		if over := i == 2; errors.Is(err, event.ErrTooManyRooms) != over {
			t.Errorf("room %d of 2: %v", i+1, err)
		}
	}
}

// Events of an interval that retention dropped are a gap; events before or after the interval are not.
func TestGapOfAStay(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	start := q.Head()
	appendOne(t, q, emit("before", "1"))
	join(t, q, "before", "bob")
	join(t, q, "during", "bob")
	appendOne(t, q, emit("during", "2"))
	join(t, q, "after", "alice")
	left := leave(t, q, "during", "bob")
	appendOne(t, q, emit("during", "3"))
	sql(t, dsn, `SELECT culvert.rotate('0', 1)`, `SELECT culvert.prune('0', 0)`, `SELECT culvert.prune('0', 0)`)
	kept := appendOne(t, q, emit("before", "4")).Cursor

	q = open(t, dsn)
	for name, want := range map[string]*event.Gap{
		"alice": nil, "bob": {From: start, To: left, Reason: event.GapPruned},
	} {
		b := must[event.Batch](t)(subscribe(t, q, queue.Interest{Client: client(name), After: start}).Poll(t.Context(), 10))
		if (b.Gap == nil) != (want == nil) || want != nil && *b.Gap != *want {
			t.Errorf("%s: gap %v, want %v", name, b.Gap, want)
		}
		if name == "bob" && (len(b.Events) != 1 || b.Events[0].Cursor() != kept) {
			t.Errorf("bob got %v", b.Events)
		}
	}
	// Once the client has passed it, the interval is deleted with the next slice.
	must[event.Cursor](t)(q.Ack(t.Context(), ns, client("bob"), kept))
	open(t, dsn, func(o *queue.Options) { o.Slice, o.Retention, o.SliceEvents = time.Second, time.Second, 1 })
	conn := connect(t, dsn)
	until(t, "the intervals that are over are gone", func() bool {
		var over int
		err := conn.QueryRow(t.Context(), `SELECT count(*) FROM culvert.memberships WHERE until IS NOT NULL`).Scan(&over)
		return err == nil && over == 0
	})
}

// Joins, leaves and emits at random, from both instances at once: every client gets exactly the events of a
// room while it was in it.
func TestMembershipUnderChurn(t *testing.T) {
	dsn := pgtest.Database(t)
	instances := []*queue.Queue{
		open(t, dsn), open(t, dsn, func(o *queue.Options) { o.TailEvents = 20 }), // the second one reads Postgres most of the time
	}
	const clients, rooms, each = 6, 3, 150
	start := instances[0].Head()
	var mu sync.Mutex
	said := map[int]map[event.Offset]string{}
	intervals := map[[2]int][][2]event.Offset{}
	for r := range rooms {
		said[r] = map[event.Offset]string{}
	}
	var work sync.WaitGroup
	for p := range 3 {
		work.Go(func() {
			for i := range each {
				r := rand.IntN(rooms)
				text := fmt.Sprintf(`"%d-%d"`, p, i)
				got, err := instances[p%2].Append(t.Context(), []event.Emit{emit(fmt.Sprint("r", r), "%s", text)})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				said[r][got[0].Cursor.Offset] = text
				mu.Unlock()
			}
		})
	}
	for c := range clients {
		work.Go(func() { // one goroutine a client: its changes come one after the other
			for range each / 3 {
				r, q := rand.IntN(rooms), instances[rand.IntN(2)]
				at, err := q.Join(t.Context(), ns, room(fmt.Sprint("r", r)), client(fmt.Sprint("c", c)), 0)
				if err != nil {
					t.Error(err)
					return
				}
				until, err := q.Leave(t.Context(), ns, room(fmt.Sprint("r", r)), client(fmt.Sprint("c", c)))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				intervals[[2]int{c, r}] = append(intervals[[2]int{c, r}], [2]event.Offset{at.Offset, until.Offset})
				mu.Unlock()
			}
		})
	}
	got := make([][]string, clients)
	var reading sync.WaitGroup
	for c := range clients {
		reading.Go(func() {
			s := must[*queue.Subscription](t)(instances[c%2].Subscribe(t.Context(),
				queue.Interest{Namespace: ns, Client: client(fmt.Sprint("c", c)), After: start}))
			defer s.Close()
			for {
				b, err := s.Next(t.Context(), 7)
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range b.Events {
					if e.Data == `"end"` {
						return
					}
					got[c] = append(got[c], e.Data)
				}
			}
		})
	}
	work.Wait()
	appendOne(t, instances[0], emit("*", `"end"`))
	reading.Wait()
	total := 0
	for c := range clients {
		want := map[event.Offset]string{}
		for r := range rooms {
			for o, text := range said[r] {
				for _, i := range intervals[[2]int{c, r}] {
					if i[0] < o && o <= i[1] {
						want[o] = text
					}
				}
			}
		}
		var texts []string
		for _, o := range slices.Sorted(maps.Keys(want)) {
			texts = append(texts, want[o])
		}
		total += len(texts)
		if !slices.Equal(got[c], texts) {
			t.Errorf("client %d got %d events, its intervals explain %d\n got %v\nwant %v", c, len(got[c]), len(texts), got[c], texts)
		}
	}
	if total < clients {
		t.Errorf("only %d events fell into an interval, so the test shows nothing", total)
	}
}
