package stress

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// asker emits events that ask, and replies to them as the client that they are for.
type asker struct {
	n    int
	asks []asked
}

// asked is an ask whose reply was confirmed.
type asked struct {
	offset     int64
	data       int
	begun, end time.Time // of the reply
}

func (a *asker) client() string { return fmt.Sprintf("asker %d", a.n) }

func (a *asker) run(ctx context.Context, c *caller, goesOn func() bool) {
	for n := 0; goesOn(); n++ {
		a.once(ctx, c, n)
		c.pause(ctx, 200)
	}
}

func (a *asker) once(ctx context.Context, c *caller, n int) {
	epoch, quiet := c.s.losses.now()
	answerer := fmt.Sprintf("answerer %d", a.n)
	body := fmt.Sprintf(`{"room":"@%s","event":"q","data":{"name":"ask %d-%d"},"key":"ask %d-%d","reply":{"count":1,"timeout":600}}`, answerer, a.n, n, a.n, n)
	f := &fact{name: fmt.Sprintf("ask %d-%d", a.n, n), namespace: "default", publisher: -2 - a.n, keyed: true, rooms: []string{"@" + answerer}}
	c.s.facts.plan(f)
	got := c.insist(ctx, http.MethodPost, "default/emit?client="+queryEscape(a.client()), body)
	var to confirmation
	if !got.ok() || json.Unmarshal(got.text, &to) != nil {
		if got.status != 0 {
			c.s.verdict.breaks("a valid emit is accepted", "an ask: %d %s", got.status, got.text)
		}
		return
	}
	f.offset = to.Offset
	c.s.facts.settle(stored, f)
	if n%3 == 0 {
		c.pause(ctx, 400) // for a fault
	}
	one := asked{offset: to.Offset, data: n, begun: time.Now()}
	got = c.insist(ctx, http.MethodPost, "default/reply?client="+queryEscape(answerer), fmt.Sprintf(`{"offset":%d,"data":%d}`, to.Offset, n))
	one.end = time.Now()
	if got.ok() {
		a.asks = append(a.asks, one)
		c.s.verdict.count("asks answered", 1)
		return
	}
	if now, _ := c.s.losses.now(); got.status != 0 && quiet && now == epoch {
		c.s.verdict.breaks("a reply in time is accepted", "to %d: %d %s", to.Offset, got.status, got.text)
	}
}
