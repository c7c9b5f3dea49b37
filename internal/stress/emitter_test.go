package stress

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// emitter publishes over HTTP, one request after the other, each event with a key, and
// repeats what was not confirmed.
type emitter struct {
	c      *caller
	id     int
	n      int
	goesOn func() bool
}

func (e *emitter) run(ctx context.Context) {
	for e.goesOn() {
		switch e.c.rnd.IntN(10) {
		case 0, 1:
			e.batch(ctx, 2+e.c.rnd.IntN(12))
		case 2:
			e.upload(ctx, 5+e.c.rnd.IntN(30))
		default:
			e.single(ctx)
		}
		e.c.pause(ctx, 120)
	}
}

// next plans an event: its rooms and its name.
func (e *emitter) next(namespace string) *fact {
	f := &fact{name: name(e.id, e.n), namespace: namespace, publisher: e.id, keyed: true, rooms: somewhere(e.c.rnd.IntN(100), e.id, e.n)}
	e.n++
	e.c.s.facts.plan(f)
	return f
}

func (e *emitter) namespace() string {
	if e.c.rnd.IntN(4) == 0 {
		return "game"
	}
	return "default"
}

// somewhere chooses rooms: mostly rooms with readers, sometimes a new
// room, whose id a restored database would give to another room.
func somewhere(percent, publisher, n int) []string {
	switch {
	case percent < 40:
		return []string{"stress"}
	case percent < 60:
		return []string{"club"}
	case percent < 70:
		return []string{"side"}
	case percent < 80:
		return []string{"side", "stress"}
	case percent < 90:
		return []string{"jobs"}
	}
	return []string{fmt.Sprintf("fresh %d-%d", publisher, n)}
}

// eventName is "work" for events that the handler must run.
func eventName(f *fact) string {
	if f.rooms[0] == "jobs" && f.namespace == "default" {
		return "work"
	}
	return "e"
}

func body(f *fact) string {
	rooms, _ := json.Marshal(f.rooms)
	return fmt.Sprintf(`{"rooms":%s,"event":%q,"data":{"name": %q,"long":%q},"key":%q}`, rooms, eventName(f), f.name, long(f), "key of "+f.name)
}

// long makes the data of events to several rooms long: long data is only in the row of one
// room, see docs/decisions/022-bytes.md.
func long(f *fact) string {
	if len(f.rooms) == 1 {
		return ""
	}
	return strings.Repeat("long ", 100)
}

func (e *emitter) single(ctx context.Context) {
	f := e.next(e.namespace())
	epoch, quiet := e.c.s.losses.now()
	first, ok := e.emit(ctx, f)
	if !ok {
		return
	}
	f.offset = first.Offset
	e.c.s.facts.settle(stored, f)
	e.remember(first.Cursor, f.namespace, epoch, quiet)
	if e.c.rnd.IntN(10) > 0 {
		return
	}
	again, ok := e.emit(ctx, f)
	if now, _ := e.c.s.losses.now(); !ok || now != epoch || !quiet {
		return
	}
	e.c.s.verdict.count("keys repeated", 1)
	if again.Offset != first.Offset || !again.Duplicate {
		e.c.s.verdict.breaks("a key is stored once", "%s was confirmed at %d, its repeat was answered with %+v", f.name, first.Offset, again)
	}
}

func (e *emitter) emit(ctx context.Context, f *fact) (c confirmation, ok bool) {
	a := e.c.insist(ctx, http.MethodPost, f.namespace+"/emit", body(f))
	if !a.ok() {
		e.refused(a, f.name)
		return c, false
	}
	if err := json.Unmarshal(a.text, &c); err != nil {
		e.c.s.verdict.breaks("an answer is JSON", "%s: %v", a.text, err)
	}
	return c, true
}

func (e *emitter) refused(a answer, what string) {
	if a.status != 0 {
		e.c.s.verdict.breaks("a valid emit is accepted", "%s: %d %s", what, a.status, a.text)
	}
}

// remember keeps a cursor near the head for the ackers.
func (e *emitter) remember(cursor, namespace string, epoch int, quiet bool) {
	if now, _ := e.c.s.losses.now(); namespace == "default" && quiet && now == epoch {
		e.c.s.facts.cursor.Store(headCursor{cursor, epoch})
	}
}

type headCursor struct {
	cursor string
	epoch  int
}

func (e *emitter) batch(ctx context.Context, n int) {
	ns := e.namespace()
	var all []*fact
	var bodies []string
	for range n {
		f := e.next(ns)
		all, bodies = append(all, f), append(bodies, body(f))
	}
	a := e.c.insist(ctx, http.MethodPost, ns+"/emit", `{"events":[`+strings.Join(bodies, ",")+`]}`)
	if !a.ok() {
		e.refused(a, "a batch from "+all[0].name)
		return
	}
	var v struct{ Offsets []int64 }
	if err := json.Unmarshal(a.text, &v); err != nil || len(v.Offsets) != n {
		e.c.s.verdict.breaks("an answer is JSON", "%s: %v", a.text, err)
		return
	}
	for i, f := range all {
		f.offset = v.Offsets[i]
	}
	e.c.s.facts.settle(stored, all...)
	e.c.s.verdict.count("batches", 1)
}

// upload sends lines, and sends all lines again from the first that was not confirmed.
func (e *emitter) upload(ctx context.Context, n int) {
	ns := e.namespace()
	var all []*fact
	for range n {
		all = append(all, e.next(ns))
	}
	e.c.s.verdict.count("uploads", 1)
	for deadline := time.Now().Add(time.Minute); len(all) > 0; e.c.pause(ctx, 60) {
		var lines strings.Builder
		for _, f := range all {
			lines.WriteString(body(f) + "\n")
		}
		_, text, _ := e.c.try(ctx, http.MethodPost, ns+"/emit", "application/x-ndjson", lines.String())
		done, ok := e.lines(all, text)
		e.c.s.facts.settle(stored, all[:done]...)
		all = all[done:]
		if !ok {
			return
		}
		if time.Now().After(deadline) {
			e.c.s.verdict.breaks("a request is answered within a minute", "an upload: %s", text)
			return
		}
	}
}

// lines reads the results of the first confirmed lines. After a temporary
// problem no line may be stored: a sender that repeats from there would change the order.
func (e *emitter) lines(all []*fact, text []byte) (done int, ok bool) {
	stopped := false
	for line := range strings.Lines(string(text)) {
		var v struct {
			Offset int64
			Status int
		}
		if json.Unmarshal([]byte(line), &v) != nil || !strings.HasSuffix(line, "\n") {
			break // cut off
		}
		switch {
		case v.Offset > 0 && stopped:
			e.c.s.verdict.breaks("nothing of an upload is stored after a temporary problem", "%s", line)
			return done, true
		case v.Offset > 0 && done < len(all):
			all[done].offset = v.Offset
			done++
		case v.Status == http.StatusServiceUnavailable:
			stopped = true
		case v.Status >= 500:
			e.c.s.verdict.breaks("no answer is 500", "a line: %s", line)
			stopped = true
		default:
			e.c.s.verdict.breaks("a valid emit is accepted", "a line: %s", line)
			return done, false
		}
	}
	return done, true
}
