package queue_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// broken are rows of culvert.events that no reader could handle, as values of the columns event, sender,
// except_, data, is_binary, at and the name of the room.
var broken = map[string]string{
	"no JSON":              `'greeting', NULL, NULL::text[], '{"a":', false, now(), 'lobby'`,
	"two values":           `'greeting', NULL, NULL::text[], '1 2', false, now(), 'lobby'`,
	"two lines":            `'greeting', NULL, NULL::text[], E'[1,\n2]', false, now(), 'lobby'`,
	"a forged frame":       `'greeting', NULL, NULL::text[], E'1\n\nevent: forged\ndata: 2', false, now(), 'lobby'`,
	"empty data":           `'greeting', NULL, NULL::text[], '', false, now(), 'lobby'`,
	"binary of a number":   `'greeting', NULL, NULL::text[], '1', true, now(), 'lobby'`,
	"no name":              `'', NULL, NULL::text[], '1', false, now(), 'lobby'`,
	"a name of two lines":  `E'greeting\nid: 7', NULL, NULL::text[], '1', false, now(), 'lobby'`,
	"a long name":          `repeat('x', 129), NULL, NULL::text[]::text[], '1', false, now(), 'lobby'`,
	"a sender of two":      `'greeting', E'al\nice', NULL::text[], '1', false, now(), 'lobby'`,
	"NULL among rooms":     `'greeting', NULL, ARRAY['a', NULL], '1', false, now(), 'lobby'`,
	"a bad excepted room":  `'greeting', NULL, ARRAY[E'a\nb'], '1', false, now(), 'lobby'`,
	"before all times":     `'greeting', NULL, NULL::text[], '1', false, timestamptz '-infinity', 'lobby'`,
	"after all times":      `'greeting', NULL, NULL::text[], '1', false, timestamptz 'infinity', 'lobby'`,
	"a million dimensions": `'greeting', NULL, NULL::text[], repeat('[', 3000) || repeat(']', 3000), false, now(), 'lobby'`,
}

// store inserts a row into the log as its next event, without culvert.append.
func store(t testing.TB, dsn, values string) event.Offset {
	t.Helper()
	var offset event.Offset
	err := connect(t, dsn).QueryRow(t.Context(), `
		WITH lock AS MATERIALIZED (SELECT culvert.lock_log()),
		     row (event, sender, except_, data, is_binary, at, room) AS (SELECT `+values+` FROM lock),
		     stored AS (
		INSERT INTO culvert.events ("offset", room_id, event, sender, except_, data, is_binary, at)
		SELECT nextval('culvert.offsets'), r.id, row.event, row.sender, row.except_, row.data, row.is_binary, row.at
		  FROM row JOIN culvert.rooms r ON r.name = row.room
		RETURNING "offset")
		SELECT "offset", pg_notify('culvert', "offset"::text) FROM stored`).Scan(&offset, nil)
	if err != nil {
		t.Fatal(err)
	}
	return offset
}

// toldOf returns what a subscription gets, as text, until it has got so many events. Of several gaps in a row
// only the last one is returned.
func toldOf(t testing.TB, s *queue.Subscription, events int) (got []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for events > 0 {
		b, err := s.Next(ctx, 100)
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		if n := len(got); b.Gap != nil && n > 0 && strings.HasPrefix(got[n-1], b.Gap.Reason) {
			got = got[:n-1]
		}
		if b.Gap != nil {
			got = append(got, fmt.Sprintf("%s to %d", b.Gap.Reason, b.Gap.To.Offset))
		}
		for _, e := range b.Events {
			got = append(got, e.Data)
			events--
		}
	}
	return got
}

// One event that cannot be read is left out, with a gap for its readers, however it is read; everything else
// continues.
func TestUnreadableEvents(t *testing.T) {
	for name, values := range broken {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.Database(t)
			registry := prometheus.NewRegistry()
			q := open(t, dsn, quiet, func(o *queue.Options) { o.Registerer = registry })
			live := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("lobby"), room("hall")}})
			elsewhere := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("hall")}})
			handled := handle(t, q, "*")
			start := q.Head()
			appendOne(t, q, emit("lobby", "1"))
			bad := store(t, dsn, values)
			appendOne(t, q, emit("lobby", "2"))
			worse := []event.Offset{store(t, dsn, values), store(t, dsn, values)}
			appendOne(t, q, emit("hall", "3"))

			want := []string{"1", fmt.Sprintf("unreadable to %d", bad), "2", fmt.Sprintf("unreadable to %d", worse[1]), "3"}
			if got := toldOf(t, live, 3); !slices.Equal(got, want) {
				t.Errorf("a stream got %q, want %q", got, want)
			}
			if got := toldOf(t, elsewhere, 1); !slices.Equal(got, []string{"3"}) {
				t.Errorf("a stream of another room got %q", got)
			}
			later := subscribe(t, open(t, dsn, quiet, queue.Cold), queue.Interest{Rooms: []event.Room{room("lobby"), room("hall")}, After: start})
			if got := toldOf(t, later, 3); !slices.Equal(got, want) {
				t.Errorf("a later reader gets %q, want %q", got, want)
			}
			for _, data := range []string{"1", "2", "3"} {
				if e := receive(t, handled); e.Data != data && !slices.Contains([]string{"1", "2", "3"}, e.Data) {
					t.Errorf("a handler got %q", e.Data)
				}
			}
			if n := counter(t, registry, "culvert_events_unreadable_total"); n != 3 {
				t.Errorf("%v unreadable events are counted, want 3", n)
			}
			b, err := q.History(t.Context(), ns, room("lobby"), event.Client{}, start, 100)
			if err != nil || len(b.Events) != 1 || b.Gap != nil || !b.More || b.Final {
				t.Fatalf("history: %+v, %v", b, err)
			}
			b, err = q.History(t.Context(), ns, room("lobby"), event.Client{}, b.Cursor, 100)
			if err != nil || len(b.Events) != 1 || b.Gap == nil || b.Gap.Reason != event.GapUnreadable || b.Gap.To.Offset != bad {
				t.Fatalf("history: %+v, %v", b, err)
			}
		})
	}
}

func counter(t testing.TB, r *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// Handlers park what cannot be read at once and continue.
func TestHandlersParkTheUnreadable(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, quiet)
	handled := handle(t, q, "greeting")
	appendOne(t, q, emit("lobby", "1"))
	bad := store(t, dsn, broken["NULL among rooms"])
	appendOne(t, q, emit("lobby", "2"))
	receive(t, handled)
	receive(t, handled)
	o := operator(t, dsn)
	until(t, "the event is parked", func() bool {
		parked, err := o.Parked(t.Context(), ns, "greeting", 10)
		return err == nil && len(parked) == 1 && parked[0].Offset == bad && strings.Contains(parked[0].Error, "cannot be read")
	})
}

// A row of culvert.volatile that cannot be read is left out.
func TestUnreadableVolatileEvents(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn, quiet), open(t, dsn, quiet)
	s := subscribe(t, b, queue.Interest{Rooms: []event.Room{room("lobby")}})
	for i, values := range []string{
		`'default', ARRAY['lobby', NULL], NULL, 'greeting', '1'`,
		`'default', ARRAY['lobby'], ARRAY[NULL], 'greeting', '1'`,
		`'default', ARRAY['lobby'], NULL, E'a\nb', '1'`,
		`'default', ARRAY['lobby'], NULL, 'greeting', '{'`,
	} {
		sql(t, dsn, `INSERT INTO culvert.volatile (id, at, instance, namespace, rooms, except_, event, data, is_binary)
			SELECT nextval('culvert.volatile_ids'), now(), 'by force', `+values+`, false`)
		e := emit("lobby", "%d", i)
		if err := a.PublishVolatile(t.Context(), []event.Emit{e}); err != nil {
			t.Fatal(err)
		}
	}
	if got := nextVolatile(t, s, 4); !slices.Equal(got, []string{"0", "1", "2", "3"}) {
		t.Errorf("the reader received %q", got)
	}
}
