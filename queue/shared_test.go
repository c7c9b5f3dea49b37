package queue_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/registry"
)

// A caller that changes the events it got from Next, from History or in a handler does not change what others
// get.
func TestEventsCanBeChangedByWhoGotThem(t *testing.T) {
	q := open(t, pgtest.Database(t))
	spoil := func(events []*event.Event) {
		for _, e := range events {
			if len(e.Except) > 0 {
				e.Except[0] = room("*")
			}
			e.Data, e.Room, e.Offset, e.Name, e.Except = `"spoilt"`, room("spoilt"), 1, "spoilt", nil
		}
		clear(events)
	}
	handled := make(chan string, 2)
	err := q.Handle(ns, "greeting", func(_ context.Context, e *event.Event) (any, error) {
		first := e.Data
		spoil([]*event.Event{e})
		handled <- first
		return "heard", nil
	})
	if err != nil {
		t.Fatal(err)
	}
	one, other := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}}), subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}})
	polled, next := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}}), subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}})
	e := emit("r", "1")
	e.Except = []event.Room{room("not")}
	e.Reply = event.Ask{Timeout: time.Minute, Count: 1}
	stored := appendOne(t, q, e)
	check := func(who string, events []*event.Event) {
		t.Helper()
		if len(events) != 1 || events[0].Data != "1" || events[0].Offset != stored.Cursor.Offset || events[0].Room != room("r") ||
			!slices.Equal(events[0].Except, []event.Room{room("not")}) {
			t.Errorf("%s gets %+v", who, events)
		}
		spoil(events)
	}
	check("the first", must[event.Batch](t)(one.Next(t.Context(), 10)).Events)
	check("the next", must[event.Batch](t)(other.Next(t.Context(), 10)).Events)
	for range 2 {
		check("history", must[event.Batch](t)(q.History(t.Context(), ns, room("r"), event.Client{}, event.Cursor{}, 10)).Events)
	}
	check("who polls", must[event.Batch](t)(polled.Poll(t.Context(), 10)).Events)
	check("who polls next", must[event.Batch](t)(next.Poll(t.Context(), 10)).Events)
	if got := receive(t, handled); got != "1" {
		t.Errorf("the handler got %s", got)
	}
	// The job is settled even if the function has changed its event.
	if r := must[queue.Replies](t)(q.Await(t.Context(), ns, stored.Cursor.Offset)); len(r.Answers) != 1 || r.Answers[0].Data.JSON() != `"heard"` {
		t.Errorf("the replies are %+v", r)
	}
}

// An emit is stored as it was at the call: the caller may use its slices again at once, even if it stops
// waiting.
func TestEmitsAreTheCallersOwn(t *testing.T) {
	q := open(t, pgtest.Database(t))
	rooms, except := []event.Room{room("r")}, []event.Room{client("alice").OwnRoom()}
	emits := []event.Emit{{Namespace: ns, Rooms: rooms, Except: except, Event: greeting, Data: data("1")}}
	spoil := func() {
		rooms[0], except[0] = room("spoilt"), client("bob").OwnRoom()
		emits[0] = emit("spoilt", `"spoilt"`)
	}
	alice, bob := subscribe(t, q, queue.Interest{Client: client("alice"), Rooms: []event.Room{room("r")}}), subscribe(t, q, queue.Interest{Client: client("bob"), Rooms: []event.Room{room("r")}})
	for name, send := range map[string]func(context.Context) error{
		"Append":          func(ctx context.Context) error { _, err := q.Append(ctx, emits); return err },
		"AppendEach":      func(ctx context.Context) error { return q.AppendEach(ctx, emits)[0].Err },
		"PublishVolatile": func(ctx context.Context) error { return q.PublishVolatile(ctx, emits) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, wait := range []bool{true, false} {
				rooms[0], except[0] = room("r"), client("alice").OwnRoom()
				emits[0] = event.Emit{Namespace: ns, Rooms: rooms, Except: except, Event: greeting, Data: data("1")}
				ctx, cancel := context.WithCancel(t.Context())
				if !wait {
					cancel()
				}
				if err := send(ctx); err != nil && !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				cancel()
				spoil()
				if name == "PublishVolatile" && !wait {
					continue // it may be given up, too
				}
				patience, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				b := must[event.Batch](t)(bob.Next(patience, 10))
				cancel()
				for e := range b.All() {
					if e.Data != "1" {
						t.Errorf("bob got %q", e.Data)
					}
				}
			}
		})
	}
	if b := must[event.Batch](t)(alice.Poll(t.Context(), 10)); len(b.Events)+len(b.Volatile) > 0 {
		t.Errorf("alice, who was excepted, got %+v", b)
	}
}

// A caller may change what the registry returned without changing what others get.
func TestSettingsAndGrantsAreCopies(t *testing.T) {
	q := open(t, pgtest.Database(t))
	shop := event.MustNamespace("shop")
	if _, err := q.Registry().PutNamespace(t.Context(), shop, registry.NamespaceSettings{Public: []string{"news"}, Presence: []string{"lobby"}}); err != nil {
		t.Fatal(err)
	}
	s := q.Registry().Settings(shop)
	s.Public[0], s.Presence[0] = "*", "*"
	if s := q.Registry().Settings(shop); s.Public[0] != "news" || s.Presence[0] != "lobby" {
		t.Errorf("the settings are %+v", s)
	}
	_, token, err := q.Registry().CreateKey(t.Context(), registry.APIKey{Label: "shop", Namespaces: []event.Namespace{shop}})
	if err != nil {
		t.Fatal(err)
	}
	g, _ := q.Registry().Grant(token)
	g.Namespaces[0] = ns
	if g, ok := q.Registry().Grant(token); !ok || g.Namespaces[0] != shop {
		t.Errorf("the grant is %+v", g)
	}
}
