package queue_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/registry"
)

// poller polls as a client does: each poll continues where the one before ended.
type poller struct {
	t      *testing.T
	q      *queue.Queue
	in     queue.Interest
	cursor event.Cursor
}

func newPoller(t *testing.T, q *queue.Queue, name string) *poller {
	p := &poller{t: t, q: q, in: queue.Interest{Namespace: ns, Client: client(name), Rights: "all"}}
	p.poll()
	return p
}

// poll returns the data of the events that are there.
func (p *poller) poll() (got []string) {
	p.t.Helper()
	p.in.After = p.cursor
	s, err := p.q.Subscribe(p.t.Context(), p.in)
	if err != nil {
		p.t.Fatal(err)
	}
	defer s.Close()
	for {
		b, err := s.Poll(p.t.Context(), 100)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, e := range b.Events {
			got = append(got, e.Data)
		}
		if p.cursor = b.Cursor; !b.More {
			return got
		}
	}
}

func (p *poller) expect(want ...string) {
	p.t.Helper()
	<-p.q.CaughtUp()
	if got := p.poll(); fmt.Sprint(got) != fmt.Sprint(want) {
		p.t.Errorf("the poll returns %v, want %v", got, want)
	}
}

// queriesOf returns how many queries f takes.
func queriesOf(q *queue.Queue, f func()) int64 {
	before := q.Queries()
	f()
	return q.Queries() - before
}

func TestAPollThatContinuesAsksPostgresNothing(t *testing.T) {
	dsn := pgtest.Database(t)
	q, other := open(t, dsn), open(t, dsn)
	p := newPoller(t, q, "bob")
	join := func(q *queue.Queue, r string) {
		must[event.Cursor](t)(q.Join(t.Context(), ns, room(r), client("bob"), 0))
		<-p.q.CaughtUp()
	}
	join(q, "a")
	n := queriesOf(q, func() {
		p.expect()
		for i := range 20 {
			appendOne(t, q, emit("a", "%d", i))
			p.expect(fmt.Sprint(i))
		}
		// Changes of members come with the log, from whatever instance.
		join(other, "b")
		appendOne(t, q, emit("b", "20"))
		p.expect("20")
		must[event.Cursor](t)(other.Leave(t.Context(), ns, room("a"), client("bob")))
		<-q.CaughtUp()
		appendOne(t, q, emit("a", "21"))
		appendOne(t, q, emit("b", "22"))
		p.expect("22")
		e := emit("b", "23")
		e.Except = []event.Room{room("@bob")}
		appendOne(t, q, e)
		p.expect()
	})
	if n != 0 {
		t.Errorf("23 polls that continue took %d queries", n)
	}
	if n := queriesOf(other, func() { p.q = other; p.expect() }); n == 0 {
		t.Error("another instance knew the client's rooms without a query")
	}
}

// A reader that was kept is not used where it would show what is not to be seen, or hide what is.
func TestAKeptReaderIsNotUsed(t *testing.T) {
	only := func(r string) func(event.Room) bool {
		return func(other event.Room) bool { return other == room(r) }
	}
	for name, test := range map[string]func(t *testing.T, q *queue.Queue, p *poller){
		"with another token": func(t *testing.T, q *queue.Queue, p *poller) {
			must[event.Cursor](t)(q.JoinAs(t.Context(), ns, room("own"), client("bob"), queue.Joining{Own: true}))
			p.expect()
			appendOne(t, q, emit("own", "1"))
			p.in.Rights, p.in.May = "other", only("else")
			p.expect()
			p.in.Rights, p.in.May = "own", only("own")
			appendOne(t, q, emit("own", "2"))
			p.expect("2")
		},
		"from an earlier position": func(t *testing.T, q *queue.Queue, p *poller) {
			before := p.cursor
			appendOne(t, q, emit("r", "1"))
			p.expect("1")
			p.cursor = before
			p.expect("1")
			appendOne(t, q, emit("r", "2"))
			p.expect("2")
		},
		"without a position": func(t *testing.T, q *queue.Queue, p *poller) {
			appendOne(t, q, emit("r", "1"))
			p.expect("1")
			p.cursor = event.Cursor{} // from the stored one, which nobody moved
			p.expect("1")
		},
		"after the client was forgotten": func(t *testing.T, q *queue.Queue, p *poller) {
			if err := q.Forget(t.Context(), ns, client("bob")); err != nil {
				t.Fatal(err)
			}
			<-q.CaughtUp()
			appendOne(t, q, emit("r", "1"))
			p.expect() // it is in no room
			must[event.Cursor](t)(q.Join(t.Context(), ns, room("r"), client("bob"), 0))
			appendOne(t, q, emit("r", "2"))
			p.expect("2")
		},
		"when it is too old": func(t *testing.T, q *queue.Queue, p *poller) {
			time.Sleep(20 * time.Millisecond) // longer than SessionIdle
			appendOne(t, q, emit("r", "1"))
			p.expect("1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := open(t, pgtest.Database(t), func(o *queue.Options) {
				if name == "when it is too old" {
					o.SessionIdle = 10 * time.Millisecond
				}
			})
			p := newPoller(t, q, "bob")
			must[event.Cursor](t)(q.Join(t.Context(), ns, room("r"), client("bob"), 0))
			p.expect()
			if n := queriesOf(q, func() { test(t, q, p) }); n == 0 {
				t.Error("it was used")
			}
		})
	}
}

// A namespace of the same name that was made after the deletion is another one.
func TestAKeptReaderOfADeletedNamespaceIsNotUsed(t *testing.T) {
	q := open(t, pgtest.Database(t))
	space := event.MustNamespace("short-lived")
	put := func() {
		t.Helper()
		if _, err := q.Registry().PutNamespace(t.Context(), space, registry.NamespaceSettings{}); err != nil {
			t.Fatal(err)
		}
	}
	put()
	p := &poller{t: t, q: q, in: queue.Interest{Namespace: space, Client: client("bob"), Rights: "all"}}
	p.poll()
	must[event.Cursor](t)(q.Join(t.Context(), space, room("r"), client("bob"), 0))
	p.expect()
	if err := q.Registry().DeleteNamespace(t.Context(), space); err != nil {
		t.Fatal(err)
	}
	put()
	e := emit("r", `"secret"`)
	e.Namespace = space
	appendOne(t, q, e)
	p.expect() // bob is in no room of the new one
	e = emit("@bob", "1")
	e.Namespace = space
	appendOne(t, q, e)
	p.expect("1")
}

// After a restore the rooms are those of the database that is there now.
func TestAKeptReaderOfAnotherHistoryIsNotUsed(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	p := newPoller(t, q, "bob")
	must[event.Cursor](t)(q.Join(t.Context(), ns, room("r"), client("bob"), 0))
	p.expect()
	sql(t, dsn, `DELETE FROM culvert.memberships`)
	if _, _, err := queue.Restored(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	appendOne(t, q, emit("r", "1"))
	appendOne(t, q, emit("@bob", "2"))
	p.expect("2")
}

// Volatile events are for those who wait for them, not for who may come back.
func TestAKeptReaderTakesNoVolatileEvents(t *testing.T) {
	q := open(t, pgtest.Database(t))
	p := newPoller(t, q, "bob")
	e := emit("@bob", `"gone"`)
	if err := q.PublishVolatile(t.Context(), []event.Emit{e}); err != nil {
		t.Fatal(err)
	}
	appendOne(t, q, emit("@bob", "1"))
	<-q.CaughtUp()
	p.in.After = p.cursor
	s := must[*queue.Subscription](t)(q.Subscribe(t.Context(), p.in))
	defer s.Close()
	b := must[event.Batch](t)(s.Poll(t.Context(), 10))
	if len(b.Events) != 1 || len(b.Volatile) != 0 {
		t.Errorf("after a pause there are %d events and %d volatile ones", len(b.Events), len(b.Volatile))
	}
	e = emit("@bob", `"here"`)
	if err := q.PublishVolatile(t.Context(), []event.Emit{e}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if b, err := s.Next(ctx, 10); err != nil || len(b.Volatile) != 1 {
		t.Errorf("a poll that waits gets %d volatile events: %v", len(b.Volatile), err)
	}
}

// Polls go on while Postgres is away for as long as they need nothing from it.
func TestAPollThatContinuesNeedsNoPostgres(t *testing.T) {
	server := pgtest.NewServer(t, localpg.Options{})
	if err := migrations.Up(t.Context(), server.DSN()); err != nil {
		t.Fatal(err)
	}
	q := open(t, server.DSN())
	p := newPoller(t, q, "bob")
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.poll()
	s, err := q.Subscribe(t.Context(), queue.Interest{Namespace: ns, Client: client("alice"), Rights: "all"})
	if !errors.Is(err, event.ErrUnavailable) {
		t.Errorf("a client that is new here: %v", err)
		s.Close()
	}
}

// The memory of kept readers is bounded: the oldest are closed, and the next polls of their clients need a query.
func TestKeptReadersAreBounded(t *testing.T) {
	q := open(t, pgtest.Database(t))
	var pollers []*poller
	for i := range 10 {
		pollers = append(pollers, newPoller(t, q, fmt.Sprint("c", i)))
	}
	kept := q.IdleReaders()
	if len(kept) != len(pollers) {
		t.Fatalf("%d readers are kept, want %d", len(kept), len(pollers))
	}
	q.KeepIdle(10)
	for i := range 4 {
		newPoller(t, q, fmt.Sprint("later", i))
	}
	if n := len(q.IdleReaders()); n != 10 {
		t.Errorf("%d readers are kept, want 10", n)
	}
	awaitFreed(t, kept[:4])
	for i, p := range slices.Backward(pollers) { // a poll that asks makes a new reader, which takes the place of another
		if asked := queriesOf(q, func() { p.expect() }) > 0; i >= 8 && asked {
			t.Errorf("poll of client %d asks Postgres, though its reader is one of the newest", i)
		} else if i < 4 && !asked {
			t.Errorf("poll of client %d asks Postgres nothing, though its reader was one of the oldest", i)
		}
	}
}

// A reader is closed after SessionIdle if its client does not poll again.
func TestKeptReadersEnd(t *testing.T) {
	q := open(t, pgtest.Database(t), func(o *queue.Options) { o.SessionIdle = 100 * time.Millisecond })
	for i := range 5 {
		newPoller(t, q, fmt.Sprint("c", i))
	}
	kept := q.IdleReaders()
	if len(kept) == 0 {
		t.Fatal("no reader is kept")
	}
	awaitFreed(t, kept)
	if n := len(q.IdleReaders()); n != 0 {
		t.Errorf("%d readers are still kept", n)
	}
}

// awaitFreed waits until nothing holds the readers: neither what keeps them between polls, nor the tail.
func awaitFreed(t *testing.T, readers []queue.IdleReader) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		runtime.GC()
		held := 0
		for _, r := range readers {
			if r.Value() != nil {
				held++
			}
		}
		if held == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d readers are still in memory", held, len(readers))
		}
	}
}
