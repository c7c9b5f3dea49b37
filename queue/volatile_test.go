package queue_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// nextVolatile returns the data of the next n volatile events, and fails on others.
func nextVolatile(t testing.TB, s *queue.Subscription, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []string
	for len(got) < n {
		b, err := s.Next(ctx, 100)
		if err != nil || len(b.Events) > 0 {
			t.Fatalf("after %v: %d durable events, %v", got, len(b.Events), err)
		}
		for _, e := range b.Volatile {
			if !e.Volatile() || e.At.IsZero() {
				t.Errorf("event %+v", e)
			}
			got = append(got, e.Data)
		}
	}
	return got
}

func TestVolatileEventsReachWhoIsConnectedOnEveryInstance(t *testing.T) {
	for name, change := range map[string]func(*queue.Options){
		"notified": func(*queue.Options) {}, "polling": func(o *queue.Options) { o.PollOnly = true },
	} {
		t.Run(name, func(t *testing.T) {
			dsn := pgtest.Database(t)
			a, b := open(t, dsn, change), open(t, dsn, change)
			join(t, a, "lobby", "alice")
			join(t, a, "lobby", "bob")
			join(t, a, "muted", "bob")
			head := a.Head()
			alice := subscribe(t, a, queue.Interest{Client: client("alice")})
			carol := subscribe(t, b, queue.Interest{Client: client("carol")})
			bob := subscribe(t, b, queue.Interest{Client: client("bob")})
			adHoc := subscribe(t, b, queue.Interest{Rooms: []event.Room{room("lobby"), event.Everyone()}})
			publish := func(text string, rooms ...event.Room) {
				e := emit("x", "%s", text)
				e.Rooms, e.Except = rooms, []event.Room{room("muted")}
				if err := a.PublishVolatile(t.Context(), []event.Emit{e}); err != nil {
					t.Fatal(err)
				}
			}
			big := `"` + strings.Repeat("x", 100_000) + `"` // more than a notification can carry
			publish("1", room("lobby"), event.Everyone(), client("alice").OwnRoom())
			publish(big, room("lobby"))
			publish(`"end"`, event.Everyone())
			for name, c := range map[string]struct {
				s    *queue.Subscription
				want []string
			}{
				"alice": {alice, []string{"1", big, `"end"`}}, "ad hoc": {adHoc, []string{"1", big, `"end"`}},
				"carol, who is in no room": {carol, []string{"1", `"end"`}},
			} {
				if got := nextVolatile(t, c.s, len(c.want)); !slices.Equal(got, c.want) {
					t.Errorf("%s got %.60q", name, got)
				}
			}
			if b := must[event.Batch](t)(bob.Poll(t.Context(), 10)); len(b.Volatile) > 0 {
				t.Errorf("bob, who is excepted, got %v", b.Volatile)
			}
			if now := must[event.Cursor](t)(a.Ack(t.Context(), ns, client("x"), head)); now != head {
				t.Errorf("the log moved from %v to %v", head, now)
			}
		})
	}
}

// A reader that does not keep up loses volatile events, the oldest first, and no
// durable ones.
func TestASlowReaderLosesOnlyVolatileEvents(t *testing.T) {
	q := open(t, pgtest.Database(t))
	s := subscribe(t, q, queue.Interest{Client: client("bob")})
	const n = 500
	for i := range n {
		if err := q.PublishVolatile(t.Context(), []event.Emit{emit("*", "%d", i)}); err != nil {
			t.Fatal(err)
		}
		appendOne(t, q, emit("*", "%d", i))
	}
	var durable []string
	var last string
	held := 0
	for len(durable) < n {
		b := must[event.Batch](t)(s.Next(t.Context(), 100))
		for _, e := range b.Events {
			durable = append(durable, e.Data)
		}
		for _, e := range b.Volatile {
			last = e.Data
			held++
		}
	}
	if held >= n || held < 10 || last != fmt.Sprint(n-1) {
		t.Errorf("%d of %d volatile events were kept, the last is %s", held, n, last)
	}
}

func TestASignalReachesEverySubscriptionOfTheClient(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn)
	bob := client("bob")
	subs := []*queue.Subscription{
		subscribe(t, a, queue.Interest{Client: bob}),
		subscribe(t, b, queue.Interest{Client: bob}),
		subscribe(t, b, queue.Interest{Client: bob, Rooms: []event.Room{room("r")}}),
	}
	other := subscribe(t, b, queue.Interest{Client: client("alice")})
	if err := a.Signal(t.Context(), ns, bob, "test", data("1")); err != nil {
		t.Fatal(err)
	}
	for _, s := range subs {
		if e := must[event.Batch](t)(s.Next(t.Context(), 1)).Volatile; len(e) != 1 || e[0].Name != "culvert:test" || e[0].Data != "1" {
			t.Errorf("got %v", e)
		}
	}
	if b := must[event.Batch](t)(other.Poll(t.Context(), 1)); len(b.Volatile) > 0 {
		t.Errorf("alice got %v", b.Volatile)
	}
}

// A client that left before a volatile event was emitted does not get it, and one that joined before does,
// whichever instances the change, the event and the reader are on.
func TestVolatileEventsFollowTheMembers(t *testing.T) {
	for name, change := range map[string]func(*queue.Options){
		"notified": func(*queue.Options) {}, "polling": func(o *queue.Options) { o.PollOnly, o.Poll = true, 5*time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			dsn := pgtest.Database(t)
			on := []*queue.Queue{open(t, dsn, change), open(t, dsn, change)}
			bob := []*queue.Subscription{
				subscribe(t, on[0], queue.Interest{Client: client("bob")}), subscribe(t, on[1], queue.Interest{Client: client("bob")}),
			}
			publish := func(q *queue.Queue, r event.Room, text string) {
				e := emit("x", "%q", text)
				e.Rooms = []event.Room{r}
				if err := q.PublishVolatile(t.Context(), []event.Emit{e}); err != nil {
					t.Fatal(err)
				}
			}
			late, missed := 0, 0
			for i := range 400 {
				changes, emits := on[i%2], on[i/2%2]
				join(t, changes, "lobby", "bob")
				publish(emits, room("lobby"), "in")
				publish(emits, event.Everyone(), "mark")
				for _, s := range bob {
					if !slices.Equal(upToMark(t, s), []string{`"in"`}) {
						missed++
					}
				}
				leave(t, changes, "lobby", "bob")
				publish(emits, room("lobby"), "out")
				publish(emits, event.Everyone(), "mark")
				for _, s := range bob {
					if len(upToMark(t, s)) > 0 {
						late++
					}
				}
			}
			if late+missed > 0 {
				t.Errorf("of 800 events of each kind, %d came after the leave and %d were missed after the join", late, missed)
			}
		})
	}
}

// The same holds if the client has left or joined again before the event arrives.
func TestVolatileEventsAreForTheMembersOfTheirMoment(t *testing.T) {
	for name, change := range map[string]func(*queue.Options){
		"notified": func(*queue.Options) {}, "polling": func(o *queue.Options) { o.PollOnly, o.Poll = true, 100*time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			dsn := pgtest.Database(t)
			on := []*queue.Queue{open(t, dsn, change), open(t, dsn, change)}
			bob := subscribe(t, on[0], queue.Interest{Client: client("bob")})
			publish := func(r event.Room, text string) {
				e := emit("x", "%q", text)
				e.Rooms = []event.Room{r}
				if err := on[1].PublishVolatile(t.Context(), []event.Emit{e}); err != nil {
					t.Fatal(err)
				}
			}
			for range 10 {
				const n = 20 // of each: the events that wait for a reader are bounded
				heard := make(chan []string, 1)
				go func() {
					defer close(heard) // also when it fails
					heard <- upToMark(t, bob)
				}()
				for range n {
					join(t, on[1], "lobby", "bob")
					publish(room("lobby"), "in")
					leave(t, on[1], "lobby", "bob")
					publish(room("lobby"), "out")
				}
				publish(event.Everyone(), "mark")
				got := <-heard
				in := len(slices.DeleteFunc(slices.Clone(got), func(text string) bool { return text != `"in"` }))
				if in != n || len(got) != n {
					t.Fatalf("of %d events of each kind, %d came after the leave and %d were missed after the join", n, len(got)-in, n-in)
				}
			}
		})
	}
}

// The same holds if the reader's instance hears of the leave long before it hears of the event.
func TestVolatileEventsThatAreHeardOfLate(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn, func(o *queue.Options) { o.PollOnly, o.Poll = true, 8*time.Second })
	bob := subscribe(t, b, queue.Interest{Client: client("bob")})
	join(t, b, "lobby", "bob")
	if err := a.PublishVolatile(t.Context(), []event.Emit{emit("lobby", "1")}); err != nil {
		t.Fatal(err)
	}
	leave(t, b, "lobby", "bob")
	until(t, "the event comes", func() bool { return len(must[event.Batch](t)(bob.Poll(t.Context(), 10)).Volatile) == 1 })
}

// upToMark returns the volatile events before the next "mark".
func upToMark(t testing.TB, s *queue.Subscription) (got []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		b, err := s.Next(ctx, 100)
		if err != nil {
			t.Fatalf("after %v: %v", got, err)
		}
		for i, e := range b.Volatile {
			if e.Data != `"mark"` {
				got = append(got, e.Data)
			} else if i == len(b.Volatile)-1 {
				return got
			}
		}
	}
}

// An append that moved the counter and was rolled back, and the start of a slice, leave positions without an
// event; volatile events do not wait for one.
func TestVolatileEventsDoNotWaitForWhatNeverComes(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn)
	s := subscribe(t, b, queue.Interest{Client: client("bob")})
	appendOne(t, a, emit("x", "0"))
	for i, stmt := range []string{
		`SELECT setval('culvert.offsets', last_value + 5) FROM culvert.offsets`, `SELECT culvert.rotate('0', 1)`, `SELECT 1`,
	} {
		sql(t, dsn, stmt)
		for range 2 {
			if err := a.PublishVolatile(t.Context(), []event.Emit{emit("*", "%d", i)}); err != nil {
				t.Fatal(err)
			}
			if got := nextVolatile(t, s, 1); got[0] != strconv.Itoa(i) {
				t.Errorf("after %s: got %v", stmt, got)
			}
		}
	}
}
