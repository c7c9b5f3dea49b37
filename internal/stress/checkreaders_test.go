package stress

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// follower compares what one reader got with the log.
func (tr *truth) follower(f *follower) {
	saw := tr.inOrder(f)
	tr.routed(f)
	tr.notSilent(f)
	if len(f.rooms) == 0 || !f.ended.Load() {
		return // membership checks the members
	}
	missing := 0
	for _, o := range tr.offsets {
		e := tr.at[o]
		if !saw[o] && e.name != "" && !strings.HasPrefix(e.name, endMark) && e.namespace == f.namespace && meet(e.rooms, f.rooms) {
			if missing++; missing <= 3 {
				tr.verdict.breaks("every reader sees every event", "%s missed %s at %d", f.id, e.name, o)
			}
		}
	}
}

func meet(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// forgetful is how long after a loss an instance may deliver lost events from memory.
const forgetful = 5 * time.Second

// inOrder checks that each new event of a reader has a higher offset than all before, and
// returns what the reader saw.
func (tr *truth) inOrder(f *follower) map[int64]bool {
	saw := map[int64]bool{}
	last := int64(0)
	for _, s := range f.steps {
		if s.kind != gotEvent {
			continue
		}
		if saw[s.offset] {
			tr.verdict.count("repeats to readers", 1)
			continue
		}
		if one := tr.tookAny(s.offset); one != nil && s.at.After(one.end) && (tr.at[s.offset] == nil || tr.at[s.offset].name != s.name) {
			// For some moments after a fault an instance may not know about it.
			if s.at.After(one.end.Add(forgetful)) {
				tr.verdict.breaks("what a fault took is no longer delivered", "%s saw %s at %d %v after %s", f.id, s.name, s.offset, s.at.Sub(one.end).Round(time.Millisecond), one.what)
			}
			continue
		}
		if s.offset < last {
			tr.verdict.breaks("a reader sees events in order", "%s: %s at %d came first after %d", f.id, s.name, s.offset, last)
		}
		saw[s.offset] = true
		last = max(last, s.offset)
		if tr.at[s.offset] == nil && tr.tookAny(s.offset) == nil {
			tr.verdict.breaks("what was seen is kept", "%s saw %s at %d, which is not in the log", f.id, s.name, s.offset)
		}
	}
	return saw
}

// tookAny returns the loss that took an offset.
func (tr *truth) tookAny(offset int64) *loss {
	for _, one := range tr.losses.list() {
		if offset > one.head && offset <= one.known {
			return &one
		}
	}
	return nil
}

// routed checks that a reader got nothing that was not for it.
func (tr *truth) routed(f *follower) {
	for _, s := range f.steps {
		if s.kind != gotEvent {
			continue
		}
		e := tr.facts.named[s.name]
		switch {
		case e == nil:
			tr.verdict.breaks("nothing is stored that nobody emitted", "%s saw %q at %d", f.id, s.name, s.offset)
		case e.fate == unstored:
			tr.verdict.breaks("what was rolled back is never seen", "%s saw %s at %d", f.id, s.name, s.offset)
		case e.namespace != f.namespace, !slices.Contains(e.rooms, s.room), len(f.rooms) > 0 && !meet(e.rooms, f.rooms):
			tr.verdict.breaks("no event goes to a room or namespace it was not sent to", "%s of %s saw %s, for %s %q, in %q", f.id, f.namespace, s.name, e.namespace, e.rooms, s.room)
		}
	}
}

// notSilent checks the gaps: a reader that had seen lost events gets a gap before it continues,
// and a reader that was not ahead of a restored history gets none.
func (tr *truth) notSilent(f *follower) {
	at, told := int64(0), false // the reader's position, and whether it got a gap since
	var seen []step
	for _, s := range f.steps {
		switch s.kind {
		case wentBack:
			at, told = 0, false
		case gotGap:
			told = true
			tr.verdict.count("gaps told", 1)
			if from := offsetIn(s.gap.From); tr.tookAny(from) == nil || s.gap.Reason != "rewound" && s.gap.Reason != "log" {
				tr.verdict.breaks("a reader gets a gap only where something was lost", "%s: %+v", f.id, s.gap)
			}
		case gotEvent, gotPosition:
			for _, one := range tr.losses.list() {
				if at > one.head && at <= one.known && s.offset > one.known && !told && lostTo(seen, one, at) {
					tr.verdict.breaks("a reader ahead of a restored history gets a gap", "%s had seen up to %d when %s left it at %d, and continued at %d without a gap", f.id, at, one.what, one.head, s.offset)
				}
			}
			if s.offset != at {
				at, told = s.offset, false
			}
			if s.kind == gotEvent {
				seen = append(seen, s)
			}
		}
	}
}

// lostTo reports whether a loss took something that a reader at that position had seen.
func lostTo(seen []step, one loss, at int64) bool {
	return slices.ContainsFunc(seen, func(s step) bool { return s.offset > one.head && s.offset <= min(at, one.known) })
}

// readIntervals reads the membership intervals of each client in the room "club" from the log.
func readIntervals(ctx context.Context, conn *pgx.Conn) (map[string][]interval, error) {
	rows, err := conn.Query(ctx, `SELECT c.name, m.since, coalesce(m.until, 9223372036854775807)
		FROM culvert.memberships m JOIN culvert.clients c ON c.id = m.client_id JOIN culvert.rooms r ON r.id = m.room_id
		WHERE r.name = 'club' ORDER BY m.since`)
	if err != nil {
		return nil, err
	}
	intervals := map[string][]interval{}
	var client string
	var one interval
	_, err = pgx.ForEachRow(rows, []any{&client, &one.since, &one.until}, func() error {
		intervals[client] = append(intervals[client], one)
		return nil
	})
	return intervals, err
}

// membership compares what a member got with its membership intervals, and these with its
// answers.
func (tr *truth) membership(m *member, intervals []interval, followers []*follower) {
	i := slices.IndexFunc(followers, func(f *follower) bool { return f.id == m.id })
	f := followers[i]
	saw := map[int64]bool{}
	for _, s := range f.steps {
		if s.kind == gotEvent {
			saw[s.offset] = true
		}
	}
	wrong := 0
	for _, o := range tr.offsets {
		e := tr.at[o]
		if e.name == "" || e.namespace != "default" || !slices.Contains(e.rooms, "club") {
			continue
		}
		in := slices.ContainsFunc(intervals, func(s interval) bool { return s.since < o && o <= s.until })
		if in {
			tr.verdict.count("events to members", 1)
		}
		if in != saw[o] && (saw[o] || f.ended.Load()) {
			if wrong++; wrong <= 3 {
				tr.verdict.breaks("a member gets exactly the events of its membership intervals", "%s: %s at %d; a member then: %v; got it: %v", m.id, e.name, o, in, saw[o])
			}
		}
	}
	lostBefore := true // the first interval is not compared with what the warm-up left
	for _, one := range m.moves {
		lost := tr.losses.took(one.offset, one.begun) != nil
		found := slices.ContainsFunc(intervals, func(s interval) bool {
			return one.join && s.since == one.offset || !one.join && s.until == one.offset
		})
		if !lost && !lostBefore && !found {
			tr.verdict.breaks("an answered join or leave is durable", "%s: %+v is not among its membership intervals", m.id, one)
		}
		lostBefore = lost
	}
}

// hints checks that a member gets no volatile event that was emitted after its answered leave and
// before its next join.
func (tr *truth) hints(m *member, h *hints, followers []*follower) {
	i := slices.IndexFunc(followers, func(f *follower) bool { return f.id == m.id })
	type arrival struct {
		name string
		conn int
	}
	got, times := map[string]int{}, map[arrival]int{}
	for _, s := range followers[i].steps {
		if s.kind == gotVolatile {
			got[s.name]++
			times[arrival{s.name, s.conn}]++
			tr.verdict.count("volatile events received", 1)
		}
	}
	for a, n := range times { // a client that switches to another instance may get it on both
		if n > 1 {
			tr.verdict.breaks("a volatile event comes once on a connection", "%s got %s %d times", m.id, a.name, n)
		}
	}
	for _, one := range h.sent {
		for n, left := range m.moves {
			if left.join || left.tries > 1 || n == 0 || m.moves[n-1].tries > 1 || one.begun.Before(left.end) ||
				n+1 < len(m.moves) && one.end.After(m.moves[n+1].begun) || n+1 == len(m.moves) {
				continue
			}
			if got[one.name] > 0 && tr.losses.mayTake(left.begun, left.end) == nil {
				tr.verdict.breaks("a volatile event does not come after an answered leave", "%s got %s, emitted %v after its leave was answered", m.id, one.name, one.begun.Sub(left.end))
			}
		}
	}
}

// readHandled returns the names of the events that the handler has run to their end.
func readHandled(file string) (map[string]bool, error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	done := map[string]bool{}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var v struct{ Data struct{ Name string } }
		if json.Unmarshal(lines.Bytes(), &v) == nil {
			done[v.Data.Name] = true
		}
	}
	return done, nil
}
