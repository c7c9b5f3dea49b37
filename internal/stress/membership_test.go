package stress

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"
)

func memberName(n int) string { return fmt.Sprintf("member %d", n) }

func pathEscape(s string) string  { return url.PathEscape(s) }
func queryEscape(s string) string { return url.QueryEscape(s) }

// member joins and leaves the room "club" at random; a follower of the same
// name reads what it gets.
type member struct {
	id    string
	moves []move
}

// move is one answered join or leave.
type move struct {
	join       bool
	offset     int64
	begun, end time.Time
	tries      int // if above 1, an earlier try may still reach an instance that was paused
}

func (m *member) run(ctx context.Context, c *caller, goesOn func() bool) {
	path := "default/rooms/club/clients/" + pathEscape(m.id)
	for join := true; goesOn(); join = !join {
		method := http.MethodDelete
		if join {
			method = http.MethodPut
		}
		one := move{join: join, begun: time.Now()}
		a := c.insist(ctx, method, path, "")
		one.end, one.tries = time.Now(), a.tries
		var v struct{ Cursor string }
		if !a.ok() || json.Unmarshal(a.text, &v) != nil {
			if a.status != 0 {
				c.s.verdict.breaks("a join or leave is accepted", "%s %s: %d %s", method, m.id, a.status, a.text)
			}
			return
		}
		one.offset = offsetIn(v.Cursor)
		c.s.facts.tell(one.offset)
		m.moves = append(m.moves, one)
		c.s.verdict.count("joins and leaves", 1)
		c.pause(ctx, map[bool]int{true: 600, false: 300}[join])
	}
}

// hints are volatile events to the club: not stored, for members that are connected.
type hints struct {
	mu   sync.Mutex
	sent []hint
}

// hint is one volatile event that was answered.
type hint struct {
	name       string
	begun, end time.Time
}

func (h *hints) run(ctx context.Context, c *caller, goesOn func() bool) {
	for n := 0; goesOn(); n++ {
		one := hint{name: fmt.Sprintf("hint %d", n), begun: time.Now()}
		status, _, err := c.try(ctx, http.MethodPost, "default/emit", "application/json", fmt.Sprintf(`{"room":"club","event":"hint","data":{"name":%q},"volatile":true}`, one.name))
		if one.end = time.Now(); err == nil && status == http.StatusAccepted {
			h.mu.Lock()
			h.sent = append(h.sent, one)
			h.mu.Unlock()
			c.s.verdict.count("volatile events", 1)
		} else if err == nil && status != http.StatusServiceUnavailable {
			c.s.verdict.breaks("a volatile emit is accepted", "%d", status)
		}
		c.pause(ctx, 60)
	}
}
