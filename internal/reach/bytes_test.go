package reach

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

const (
	many = 100     // events in each measurement
	bulk = 400_000 // the JavaScript client's bound for a batch, in characters
)

// line is a line of chat: 40 bytes.
const line = `{"user":"alice","text":"hello everyone"}`

// costs are bytes per event, of one size of payload.
type costs struct {
	size  int // of the payload
	emit  map[string]traffic
	event map[string]traffic
}

// TestBytes measures what events, acknowledgements and silence cost on the wire.
func TestBytes(t *testing.T) {
	t.Parallel() // to TestGo
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

// median returns the real webhook of median size.
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

// check has wide bounds, which still find a mistake.
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
