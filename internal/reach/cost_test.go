package reach

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// keys makes idempotency keys unique.
var keys atomic.Int64

// guest returns a client in a room to which it may emit; it receives its own events.
func guest(t *testing.T, s *scene) (v *visitor, room, cursor string) {
	id := fmt.Sprintf("guest-%d", s.turn.Add(1))
	room = "up-" + id
	v = newVisitor(t, s, id)
	var joined struct{ Cursor string }
	newBackend(t, s).do(t.Context(), http.MethodPut, "/rooms/"+room+"/clients/"+id, "", &joined)
	return v, room, joined.Cursor
}

// message returns an emit in the form of the JavaScript client.
func message(room, payload string) string {
	return fmt.Sprintf(`{"key":"6f1c2a3e-8f0b-4b86-9a57-%012d","room":"%s","event":"message","data":%s}`, keys.Add(1), room, payload)
}

// batch returns one request with as many of them as fit, at most n, and their number.
func batch(room, payload string, n int) (string, int) {
	n = min(n, max(1, bulk/len(message(room, payload))))
	events := make([]string, n)
	for i := range events {
		events[i] = message(room, payload)
	}
	return `{"events":[` + strings.Join(events, ",") + "]}", n
}

// send emits n events in batches and returns the cursor of the last.
func (v *visitor) send(room, payload string, n int) (cursor string) {
	v.t.Helper()
	for n > 0 {
		body, took := batch(room, payload, n)
		cursor = v.post("/emit", body)
		n -= took
	}
	return cursor
}

// cost measures one size of payload.
func cost(t *testing.T, s *scene, payload string) costs {
	v, room, cursor := guest(t, s)
	c := costs{len(payload), map[string]traffic{}, map[string]traffic{}}

	before := v.meter.read()
	for range many {
		v.post("/emit", message(room, payload))
	}
	c.emit["alone"] = v.meter.since(before).per(many)
	before = v.meter.read()
	last := v.send(room, payload, many)
	c.emit["in batches"] = v.meter.since(before).per(many)

	// The emitted events are read in pages of up to 100, the default.
	before = v.meter.read()
	for got := 0; got < 2*many; {
		p := v.poll(cursor, 25)
		if len(p.Events) == 0 {
			t.Fatalf("%d events, and no more of %d", got, 2*many)
		}
		got += len(p.Events)
		cursor = p.Cursor
	}
	c.event["long poll, full pages"] = v.meter.since(before).per(2 * many)
	if cursor != last {
		t.Errorf("the pages end at %s, the emits at %s", cursor, last)
	}

	other := newVisitor(t, s, strings.TrimPrefix(room, "up-")) // its emits are not counted
	for name, wait := range map[string]int{"long poll": 25, "short poll": 0} {
		var total traffic
		for range many {
			other.send(room, payload, 1)
			before = v.meter.read()
			p := v.poll(cursor, wait)
			if len(p.Events) != 1 {
				t.Fatalf("%d events in a poll", len(p.Events))
			}
			cursor = p.Cursor
			spent := v.meter.since(before)
			total.up += spent.up
			total.down += spent.down
		}
		c.event[name] = total.per(many)
	}

	stream := v.stream(cursor)
	defer stream.close()
	before = v.meter.read()
	for range many {
		other.send(room, payload, 1)
		stream.expect("message")
	}
	c.event["stream"] = v.meter.since(before).per(many)
	return c
}
