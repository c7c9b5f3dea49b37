package stress

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// stands is one event that the log has at the end.
type stands struct {
	name      string
	event     string
	namespace string
	rooms     []string
	data      string
}

// truth is the log at the end.
type truth struct {
	*soak
	at       map[int64]*stands
	offsets  []int64            // in order
	of       map[string][]int64 // the offsets of publishers' events, by name
	assigned map[int64]string   // by offset: the event that anybody ever saw there
}

// check reads the log and compares it with what everybody was told.
func (s *soak) check(ctx context.Context, followers []*follower, load *load) error {
	conn, err := pgx.Connect(ctx, s.primary.server.DSN())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	tr := &truth{soak: s, at: map[int64]*stands{}, of: map[string][]int64{}, assigned: map[int64]string{}}
	if err := tr.read(ctx, conn); err != nil {
		return err
	}
	tr.stored()
	tr.confirmed()
	tr.survivors()
	tr.publishersOrder()
	tr.offsetsOnce(followers)
	for _, f := range followers {
		tr.follower(f)
	}
	intervals, err := readIntervals(ctx, conn)
	if err != nil {
		return err
	}
	for _, m := range load.members {
		tr.membership(m, intervals[m.id], followers)
		tr.hints(m, load.hints, followers)
	}
	tr.replies(load.asks)
	cursors, err := storedCursors(ctx, conn)
	if err != nil {
		return err
	}
	tr.acks(cursors)
	done, err := tr.awaitHandled(ctx)
	tr.handled(done)
	return err
}

func (tr *truth) read(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `SELECT e."offset", e.event,
		       coalesce(e.data, (SELECT f.data FROM culvert.events f WHERE f."offset" = e."offset" AND f.data IS NOT NULL LIMIT 1)), n.name, r.name
		FROM culvert.events e JOIN culvert.rooms r ON r.id = e.room_id JOIN culvert.namespaces n ON n.id = r.namespace_id
		ORDER BY e."offset", r.name COLLATE "C"`)
	if err != nil {
		return err
	}
	var offset int64
	var e stands
	var room string
	_, err = pgx.ForEachRow(rows, []any{&offset, &e.event, &e.data, &e.namespace, &room}, func() error {
		if known := tr.at[offset]; known != nil {
			known.rooms = append(known.rooms, room)
			return nil
		}
		one := e
		one.rooms = []string{room}
		var d struct{ Name string }
		if !strings.HasPrefix(one.event, "culvert:") && json.Unmarshal([]byte(one.data), &d) == nil {
			one.name = d.Name
			tr.of[one.name] = append(tr.of[one.name], offset)
		}
		tr.at[offset] = &one
		tr.offsets = append(tr.offsets, offset)
		return nil
	})
	tr.verdict.count("events stored", len(tr.offsets))
	return err
}

// stored checks that the events in the log were sent there, were not rolled back, and are stored once.
func (tr *truth) stored() {
	for name, offsets := range tr.of {
		f := tr.facts.named[name]
		if f == nil {
			tr.verdict.breaks("nothing is stored that nobody emitted", "%q at %v", name, offsets)
			continue
		}
		if f.fate == unstored {
			tr.verdict.breaks("what was rolled back is never stored", "%s at %v", name, offsets)
		}
		if len(offsets) > 1 {
			promise := "a key is stored once"
			if f.publisher == bothWays {
				promise = oneKeyOneEvent
			}
			tr.verdict.breaks(promise, "%s is at %v; key: %v", name, offsets, f.keyed)
		}
		for _, o := range offsets {
			e := tr.at[o]
			if want := slices.Sorted(slices.Values(f.rooms)); e.namespace != f.namespace || !slices.Equal(e.rooms, want) {
				tr.verdict.breaks("no event goes to a room or namespace it was not sent to", "%s, for %s %q, is in %s %q at %d", name, f.namespace, want, e.namespace, e.rooms, o)
			}
		}
	}
}

// confirmed checks that confirmed events are at their confirmed offset, unless a fault took them.
func (tr *truth) confirmed() {
	lost := 0
	for _, f := range tr.facts.named {
		if f.fate != stored {
			continue
		}
		tr.verdict.count("events confirmed", 1)
		offsets := tr.of[f.name]
		if f.offset > 0 && !slices.Contains(offsets, f.offset) {
			if one := tr.losses.took(f.offset, f.begun); one == nil || f.confirmed.Before(one.safe) {
				tr.verdict.breaks("what was confirmed is durable", "%s was confirmed at %d and is at %v", f.name, f.offset, offsets)
			}
		} else if len(offsets) == 0 && tr.losses.mayTake(f.begun, f.confirmed) == nil {
			tr.verdict.breaks("what was confirmed is durable", "%s was committed from SQL and is nowhere", f.name)
		}
		if len(offsets) == 0 {
			lost++
		}
	}
	tr.verdict.count("confirmed events lost by faults", lost)
}

// survivors checks that events that survived a fault are still at their offset.
func (tr *truth) survivors() {
	for _, one := range tr.losses.list() {
		if tr.losses.list()[len(tr.losses.list())-1].end != one.end {
			continue // a later fault may have taken more
		}
		for offset, data := range one.kept {
			if e := tr.at[offset]; e == nil || e.data != data {
				tr.verdict.breaks("what survived a fault is kept", "%s at %d is gone", data, offset)
			}
		}
	}
}

// publishersOrder checks that events that one publisher had confirmed one after the other keep that order.
func (tr *truth) publishersOrder() {
	for publisher, list := range tr.facts.order {
		last, before := int64(0), ""
		for _, f := range list {
			offsets := tr.of[f.name]
			if publisher < 0 || len(offsets) != 1 || f.offset > 0 && f.offset != offsets[0] {
				continue
			}
			if offsets[0] < last {
				tr.verdict.breaks("events of one publisher keep their order", "%s at %d overtook %s at %d", f.name, offsets[0], before, last)
			}
			last, before = max(last, offsets[0]), f.name
		}
	}
}

// offsetsOnce checks that every offset that anybody ever saw belongs to one event for ever.
func (tr *truth) offsetsOnce(followers []*follower) {
	say := func(offset int64, name, who string) {
		if other, ok := tr.assigned[offset]; ok && other != name {
			tr.verdict.breaks("an offset is never given to two events", "%d is %q and, %s, %q", offset, other, who, name)
			return
		}
		tr.assigned[offset] = name
	}
	for _, o := range tr.offsets {
		if tr.at[o].name != "" {
			say(o, tr.at[o].name, "")
		}
	}
	for _, f := range tr.facts.named {
		if f.offset > 0 && f.fate == stored {
			say(f.offset, f.name, "as confirmed")
		}
	}
	for _, f := range followers {
		for _, s := range f.steps {
			if s.kind == gotEvent {
				say(s.offset, s.name, "to "+f.id)
			}
		}
	}
}

// acks checks that no stored cursor ends below one that was answered in this history.
func (tr *truth) acks(cursors map[string]int64) {
	for client, floor := range tr.soak.acks.floor {
		if cursors[client] < floor {
			tr.verdict.breaks("a stored cursor never goes back", "%s: %d is stored, after %d was answered", client, cursors[client], floor)
		}
	}
}

// replies checks that each confirmed reply is in its emitter's room once.
func (tr *truth) replies(askers []*asker) {
	for _, a := range askers {
		found := map[int64][]int{}
		for _, o := range tr.offsets {
			e := tr.at[o]
			if e.event != "culvert:reply" || !slices.Contains(e.rooms, "@"+a.client()) {
				continue
			}
			var v struct {
				To   int64
				Data int
			}
			if err := json.Unmarshal([]byte(e.data), &v); err != nil {
				tr.verdict.breaks("every reply reaches its emitter", "%s: %v", e.data, err)
			}
			found[v.To] = append(found[v.To], v.Data)
		}
		for _, one := range a.asks {
			got := found[one.offset]
			gone := tr.losses.took(one.offset, one.begun) != nil || tr.losses.mayTake(one.begun, one.end) != nil
			if len(got) == 0 && !gone || len(got) > 1 || len(got) == 1 && got[0] != one.data && tr.losses.took(one.offset, one.begun) == nil {
				tr.verdict.breaks("every reply reaches its emitter", "to %d: %v, want one of %d", one.offset, got, one.data)
			}
		}
	}
}

// awaitHandled returns the names of the events that were handled, once all are, or
// after half a minute.
func (tr *truth) awaitHandled(ctx context.Context) (map[string]bool, error) {
	for deadline := time.Now().Add(30 * time.Second); ; rest(ctx, 100*time.Millisecond) {
		done, err := readHandled(tr.soak.handled)
		if err != nil || len(tr.unhandled(done)) == 0 || time.Now().After(deadline) {
			return done, err
		}
	}
}

// unhandled returns the offsets of the events that should have been handled and were not.
func (tr *truth) unhandled(done map[string]bool) (left []int64) {
	for _, o := range tr.offsets {
		if e := tr.at[o]; e.event == "work" && !done[e.name] {
			left = append(left, o)
		}
	}
	return left
}

// handled checks that the handler ran every event of its kind in the log, and none
// that was not committed.
func (tr *truth) handled(done map[string]bool) {
	for _, o := range tr.unhandled(done) {
		tr.verdict.breaks("a handler runs every event at least once", "%s at %d was not run", tr.at[o].name, o)
	}
	for name := range done {
		if f := tr.facts.named[name]; f == nil || f.fate == unstored {
			tr.verdict.breaks("a handler runs only what was committed", "%s", name)
		}
	}
	tr.verdict.count("events handled", len(done))
}
