package reach

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

const (
	many = 100     // events in each measurement
	bulk = 400_000 // the JavaScript client's bound for a batch, in characters
)

// keys makes each idempotency key another.
var keys atomic.Int64

// line is what somebody says in a chat: 40 bytes.
const line = `{"user":"alice","text":"hello everyone"}`

// costs are bytes per event, of one size of payload.
type costs struct {
	size  int // of the payload
	emit  map[string]traffic
	event map[string]traffic
}

// TestBytes measures what events, acknowledgements and silence cost on the wire.
func TestBytes(t *testing.T) {
	s := &scene{instances: []string{startInstance(t, pgtest.Database(t), "15")}}
	payloads := []string{line}
	if webhook := median(t); webhook != "" {
		payloads = append(payloads, webhook)
	}
	idle := map[string]traffic{}
	var mu sync.Mutex
	var quiet sync.WaitGroup
	for name, measure := range map[string]func(*testing.T, *scene) traffic{
		"stream": idleStream, "long poll": idlePoll, "short poll": idleShortPoll,
	} {
		quiet.Go(func() {
			t.Run("silence, "+name, func(t *testing.T) {
				got := measure(t, s)
				mu.Lock()
				defer mu.Unlock()
				idle[name] = got
			})
		})
	}
	var all []costs
	for _, p := range payloads {
		t.Run(fmt.Sprintf("%d bytes", len(p)), func(t *testing.T) { all = append(all, cost(t, s, p)) })
	}
	ack, open := single(t, s)
	quiet.Wait()
	if t.Failed() {
		return
	}
	text := bytesTable(all, ack, open, idle)
	t.Logf("\n%s", text)
	for _, c := range all {
		c.check(t)
	}
	if idle["stream"].all() >= idle["long poll"].all() || idle["long poll"].all() >= idle["short poll"].all() {
		t.Errorf("silence costs %v", idle)
	}
	if *record && len(payloads) == 2 && !t.Failed() {
		write(t, map[string]string{"bytes": text})
	}
}

// median is the payload in the middle, by size, of real webhooks.
func median(t *testing.T) string {
	t.Helper()
	file, err := os.ReadFile("../../../shared/data/github-webhooks.jsonl")
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	} else if err != nil {
		t.Fatal(err)
	}
	var all []string
	for text := range bytes.Lines(file) {
		var hook struct{ Data json.RawMessage }
		if err := json.Unmarshal(text, &hook); err != nil {
			t.Fatal(err)
		}
		all = append(all, string(hook.Data))
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	return all[len(all)/2]
}

// guest is a client in a room that it may emit to; its own events come back to it.
func guest(t *testing.T, s *scene) (v *visitor, room, cursor string) {
	id := fmt.Sprintf("guest-%d", s.turn.Add(1))
	room = "up-" + id
	v = newVisitor(t, s, id)
	var joined struct{ Cursor string }
	newBackend(t, s).do(t.Context(), http.MethodPut, "/rooms/"+room+"/clients/"+id, "", &joined)
	return v, room, joined.Cursor
}

// message is an emit as the JavaScript client sends it.
func message(room, payload string) string {
	return fmt.Sprintf(`{"key":"6f1c2a3e-8f0b-4b86-9a57-%012d","room":"%s","event":"message","data":%s}`, keys.Add(1), room, payload)
}

// batch is as many of them in one request as fit, at most n, and how many.
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

	// What was emitted is read in pages: the first as many as come, up to the default of 100.
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

	other := newVisitor(t, s, strings.TrimPrefix(room, "up-")) // emits without being counted
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

// check has bounds that are wide, but not as wide as a mistake.
func (c costs) check(t *testing.T) {
	t.Helper()
	order := []int64{int64(c.size), c.event["stream"].all(), c.event["long poll, full pages"].all() + 200, c.event["long poll"].all()}
	if !slices.IsSorted(order) {
		t.Errorf("%d bytes: payload, stream, page and poll are not in order: %v", c.size, order)
	}
	if c.event["stream"].up != 0 {
		t.Errorf("the client said %d bytes an event on a stream", c.event["stream"].up)
	}
	if over := c.event["stream"].all() - int64(c.size); over > 350 {
		t.Errorf("a stream adds %d bytes to an event", over)
	}
	for name, spent := range c.event {
		if over := spent.all() - int64(c.size); over > 2000 {
			t.Errorf("%s adds %d bytes to an event", name, over)
		}
	}
	if c.emit["in batches"].all() >= c.emit["alone"].all() || c.emit["alone"].all() > int64(c.size)+1500 {
		t.Errorf("emits of %d bytes cost %v", c.size, c.emit)
	}
}

// single is what an acknowledgement costs that no poll carries, and what opening a
// stream does, hello and all.
func single(t *testing.T, s *scene) (ack, open traffic) {
	v, room, _ := guest(t, s)
	cursors := make([]string, 0, many)
	for range many {
		cursors = append(cursors, v.post("/emit", message(room, line)))
	}
	before := v.meter.read()
	for _, c := range cursors {
		v.post("/ack", `{"cursor":"`+c+`"}`)
	}
	ack = v.meter.since(before).per(many)
	v.http.CloseIdleConnections()
	before = v.meter.read()
	v.stream(cursors[many-1]).close()
	return ack, v.meter.since(before)
}

// idleStream is a stream from one heartbeat to the second after it: 30 s.
func idleStream(t *testing.T, s *scene) traffic {
	v, _, cursor := guest(t, s)
	stream := v.stream(cursor)
	defer stream.close()
	before := v.meter.read()
	for range 2 {
		stream.expect("culvert:heartbeat")
	}
	return v.meter.since(before).minute(30 * time.Second)
}

// idlePoll is one poll of 25 s.
func idlePoll(t *testing.T, s *scene) traffic {
	v, _, cursor := guest(t, s)
	before := v.meter.read()
	v.poll(cursor, 25)
	return v.meter.since(before).minute(25 * time.Second)
}

// idleShortPoll is as many polls as a client makes in a minute, one every 1 to 3 s,
// without the pauses.
func idleShortPoll(t *testing.T, s *scene) traffic {
	v, _, cursor := guest(t, s)
	before := v.meter.read()
	for range 30 {
		cursor = v.poll(cursor, 0).Cursor
	}
	return v.meter.since(before)
}

// minute is what it would be in one.
func (t traffic) minute(took time.Duration) traffic {
	scale := func(n int64) int64 { return n * int64(time.Minute) / int64(took) }
	return traffic{scale(t.up), scale(t.down)}
}
