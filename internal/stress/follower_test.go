package stress

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// follower reads rooms, or the rooms of its client, by one transport, on random instances, and breaks off at
// random. It records everything that it gets.
type follower struct {
	c         *caller
	id        string
	namespace string
	rooms     []string // of an ad hoc subscription; none: the client's own
	sse       bool
	stop      context.CancelFunc
	ended     atomic.Bool

	position string
	acked    bool
	steps    []step
	conn     int // numbers its connections
}

// step is one thing that a follower was told, or did.
type step struct {
	at     time.Time
	conn   int
	kind   kind
	offset int64 // of an event or a position
	name   string
	room   string
	gap    toldGap
}

type kind byte

const (
	gotEvent    kind = 'e'
	gotVolatile kind = 'v'
	gotPosition kind = 'p'
	gotGap      kind = 'g'
	wentBack    kind = 'b' // to the cursor that the server has stored
)

type toldGap struct{ From, To, Reason string }

func (s *soak) newFollowers() (all []*follower) {
	add := func(n int, namespace, id string, rooms ...string) {
		all = append(all, &follower{c: s.caller(100 + len(all)), id: id, namespace: namespace, rooms: rooms, sse: n%2 == 0})
	}
	for n := range 4 {
		add(n, "default", fmt.Sprintf("reader %d", n), "stress", "side")
	}
	for n := range 2 {
		add(n, "game", fmt.Sprintf("player %d", n), "stress", "club")
	}
	for n := range soakMembers {
		add(n, "default", memberName(n))
	}
	return all
}

// warmUp makes every client and its stored cursor known before any fault, because a
// client that a restored history does not know starts at the head, which is not an error.
func (s *soak) warmUp(ctx context.Context) ([]*follower, error) {
	c := s.caller(9001)
	defer c.close()
	s.mark(ctx, c)
	all := s.newFollowers()
	for _, f := range all {
		a := c.insist(ctx, http.MethodGet, f.namespace+"/events?"+f.query(url.Values{"from": {"earliest"}, "wait": {"0"}}).Encode(), "")
		var page struct{ Cursor string }
		if err := json.Unmarshal(a.text, &page); err != nil || page.Cursor == "" {
			return nil, fmt.Errorf("warm up %s: %d %s", f.id, a.status, a.text)
		}
		f.position = page.Cursor
		a = c.insist(ctx, http.MethodPost, f.namespace+"/ack?client="+url.QueryEscape(f.id), `{"cursor":"`+page.Cursor+`"}`)
		f.acked = a.ok()
	}
	return all, ctx.Err()
}

// follow starts the followers and returns a function that waits for them.
func (s *soak) follow(ctx context.Context, all []*follower) func() {
	var wg sync.WaitGroup
	for _, f := range all {
		ctx, cancel := context.WithCancel(ctx)
		f.stop = cancel
		wg.Go(func() {
			defer cancel()
			f.run(ctx)
			f.c.close()
		})
	}
	return wg.Wait
}

func (f *follower) query(q url.Values) url.Values {
	q.Set("client", f.id)
	if len(f.rooms) > 0 {
		q.Set("rooms", strings.Join(f.rooms, ","))
	}
	return q
}

// run reads until the end mark.
func (f *follower) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := f.connection(ctx); errors.Is(err, errEnd) {
			f.ended.Store(true)
			return
		}
		f.c.s.verdict.count("connections of readers", 1)
		f.c.pause(ctx, 100)
	}
}

func (f *follower) connection(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(300+f.c.rnd.IntN(3000))*time.Millisecond)
	defer cancel()
	f.conn++
	q, header := f.query(url.Values{}), http.Header{"Authorization": {"Bearer " + apiKey}}
	if f.acked && f.c.rnd.IntN(4) == 0 {
		f.step(step{kind: wentBack})
	} else if f.c.rnd.IntN(2) == 0 {
		header.Set("Last-Event-ID", f.position)
	} else {
		q.Set("after", f.position)
	}
	base := f.c.base() + f.namespace
	if f.sse {
		header.Set("Accept", "text/event-stream")
		return f.stream(ctx, base, q, header)
	}
	for {
		if err := f.poll(ctx, base, q, header); err != nil {
			return err
		}
		header.Del("Last-Event-ID")
		q.Set("after", f.position)
		if f.c.rnd.IntN(10) == 0 {
			return nil
		}
	}
}

func (f *follower) get(ctx context.Context, base string, q url.Values, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/events?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	// Not by the client, whose timeout is for short requests.
	res, err := f.c.http.Transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	text, _ := bufio.NewReader(res.Body).ReadString(0)
	_ = res.Body.Close()
	switch {
	case res.StatusCode == http.StatusServiceUnavailable:
	case res.StatusCode >= 500:
		f.c.s.verdict.breaks("no answer is 500", "%s reads: %d %s", f.id, res.StatusCode, text)
	default:
		f.c.s.verdict.breaks("a reader is accepted", "%s: %d %s", f.id, res.StatusCode, text)
	}
	return nil, fmt.Errorf("status %d", res.StatusCode)
}

// gotten is one received event, by either transport.
type gotten struct {
	Offset int64
	Room   string
	Event  string
	Data   struct{ Name string }
}

func (f *follower) poll(ctx context.Context, base string, q url.Values, header http.Header) error {
	q.Set("wait", "1")
	q.Set("limit", strconv.Itoa(1+f.c.rnd.IntN(200)))
	res, err := f.get(ctx, base, q, header)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var page struct {
		Events []gotten
		Cursor string
		Gap    *toldGap
	}
	if err := json.NewDecoder(res.Body).Decode(&page); err != nil {
		return err
	}
	if page.Gap != nil {
		f.step(step{kind: gotGap, gap: *page.Gap})
	}
	end := false
	for _, e := range page.Events {
		end = f.take(e) || end
	}
	f.moveTo(page.Cursor)
	if end {
		return errEnd
	}
	return f.maybeAck(ctx, base)
}

func (f *follower) stream(ctx context.Context, base string, q url.Values, header http.Header) error {
	res, err := f.get(ctx, base, q, header)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var id, event, data string
	for lines := bufio.NewReader(res.Body); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err // an incomplete frame is ignored
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			event = value
		case "data":
			data = value
		case "":
			if err := f.frame(id, event, data); err != nil {
				return err
			}
			if event == "e" && f.c.rnd.IntN(30) == 0 {
				if err := f.maybeAck(ctx, base); err != nil {
					return err
				}
			}
			id, event, data = "", "", ""
		}
	}
}

func (f *follower) frame(id, event, data string) error {
	if event == "" || data == "" {
		return nil
	}
	switch event {
	case "culvert:gap":
		var g toldGap
		if err := json.Unmarshal([]byte(data), &g); err != nil {
			f.c.s.verdict.breaks("a frame is whole", "%s: %q", f.id, data)
		}
		f.step(step{kind: gotGap, gap: g})
	case "culvert:hello", "culvert:heartbeat", "culvert:reconnect":
		f.moveTo(id)
	default:
		var e gotten
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			f.c.s.verdict.breaks("a frame is whole", "%s: %q", f.id, data)
			return nil
		}
		end := f.take(e)
		if id != "" {
			f.position = id
		}
		if end {
			return errEnd
		}
	}
	return nil
}

// take records an event and reports whether it is the end mark.
func (f *follower) take(e gotten) bool {
	if e.Offset == 0 {
		f.step(step{kind: gotVolatile, name: e.Data.Name, room: e.Room})
		return false
	}
	f.step(step{kind: gotEvent, offset: e.Offset, name: e.Data.Name, room: e.Room})
	f.c.s.facts.tell(e.Offset)
	// The end mark of the warm-up does not count.
	return strings.HasPrefix(e.Data.Name, endMark) && f.c.s.ending.Load()
}

func (f *follower) moveTo(cursor string) {
	if cursor == "" {
		return
	}
	f.position = cursor
	offset := offsetIn(cursor)
	f.c.s.facts.tell(offset)
	f.step(step{kind: gotPosition, offset: offset})
}

func (f *follower) step(s step) {
	s.at, s.conn = time.Now(), f.conn
	f.steps = append(f.steps, s)
}

// maybeAck acknowledges the position at random times; a lost ack does not count.
func (f *follower) maybeAck(ctx context.Context, base string) error {
	if f.c.rnd.IntN(3) > 0 {
		return nil
	}
	position := f.position
	epoch, quiet := f.c.s.losses.now()
	status, text, err := f.c.try(ctx, http.MethodPost, f.namespace+"/ack?client="+url.QueryEscape(f.id), "application/json", `{"cursor":"`+position+`"}`)
	now, _ := f.c.s.losses.now()
	if err == nil && status >= 400 && status != http.StatusServiceUnavailable && len(f.c.s.losses.list()) == 0 && quiet && now == epoch {
		f.c.s.verdict.breaks("an ack of a valid cursor is accepted", "%s, cursor %s: %d %s", f.id, position, status, text)
	}
	return err
}
