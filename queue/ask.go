package queue

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Ask says that an event wants replies.
type Ask struct {
	// Timeout is how long replies are taken, MinAsk to MaxAsk; zero: none are wanted.
	Timeout time.Duration
	// Count makes the first so many replies the only ones, at most MaxReplies.
	// 0: everybody the event is for may reply, and one is expected from each
	// client that was online in its rooms when it was emitted, the sender
	// included unless it is excepted.
	Count int
}

// Limits of an Ask.
const (
	MinAsk     = 50 * time.Millisecond
	MaxAsk     = 24 * time.Hour
	MaxReplies = 10_000
)

func (a Ask) wanted() bool { return a != Ask{} }

// milliseconds is the Timeout; it fits since MaxAsk does.
func (a Ask) milliseconds() int32 { return int32(a.Timeout.Milliseconds()) } //nolint:gosec // checked

func (a Ask) until(at time.Time) time.Time {
	if !a.wanted() {
		return time.Time{}
	}
	return at.Add(time.Duration(a.milliseconds()) * time.Millisecond)
}

func (a Ask) check() error {
	switch {
	case !a.wanted():
		return nil
	case a.Timeout < MinAsk || a.Timeout > MaxAsk:
		return invalid("reply.timeout", "must be 0.05 to 86400 seconds")
	case a.Count < 0 || a.Count > MaxReplies:
		return invalidf("reply.count", "must be 1 to %d", MaxReplies)
	}
	return nil
}

const expectedSQL = `
SELECT culvert.expected($1, $2, $3, $4)
 WHERE culvert.check_ids($5)`

// nobody is a party that cannot reply: where only it is expected, the replies are never
// complete.
const nobody = "\x01"

// listed are those of the rooms that the asker may see the members of.
func (e *Emit) listed(rooms []Room) []Room {
	if e.Lists == nil {
		return rooms
	}
	return slices.DeleteFunc(slices.Clone(rooms), func(r Room) bool { return !e.Lists(r) })
}

// unseen completes what is expected where the asker may not see who is in some of the rooms. A
// client's own room tells by its name who is in it, and its reply is expected, online or not;
// of the others nobody's is. What is left, if anything, says when the replies are complete.
func (e *Emit) unseen(expected []string) []string {
	if e.Lists == nil {
		return expected
	}
	hidden := false
	for _, r := range e.rooms() {
		if e.Lists(r) {
			continue
		}
		hidden = true
		if own, ok := strings.CutPrefix(r.name, "@"); ok && !slices.Contains(expected, own) {
			expected = append(expected, own)
		}
	}
	if hidden && len(expected) == 0 {
		return []string{nobody}
	}
	return expected
}

// expect finds out who is to reply, for the asks that give no count. It is done
// before the append, whose lock everybody waits for, and in one round trip. Rooms whose
// members the asker may not see have no part in it, neither those of the event nor those it
// excepts: whether the replies are complete would tell who is in them.
func (q *Queue) expect(caller context.Context, units ...*unit) error {
	ctx, cancel := context.WithTimeout(caller, readTimeout)
	defer cancel()
	err := q.withIDs(ctx, func(l *lineage) error { return q.expectOnce(ctx, l, units) })
	if err != nil {
		return unavailable(caller, "expected replies", err)
	}
	for _, u := range units {
		for _, names := range u.expected {
			for _, name := range names {
				u.bytes += len(name)
			}
		}
	}
	return nil
}

func (q *Queue) expectOnce(ctx context.Context, l *lineage, units []*unit) error {
	var b pgx.Batch
	for _, u := range units {
		for i := range u.emits {
			e := &u.emits[i]
			if !e.Reply.wanted() || e.Reply.Count > 0 {
				continue
			}
			ns, err := q.ids.namespace(ctx, e.Namespace)
			if err != nil {
				return err
			}
			if u.expected == nil {
				u.expected = make([][]string, len(u.emits))
			}
			b.Queue(expectedSQL, ns, e.Event.name, roomNames(e.listed(e.rooms())), roomNames(e.listed(e.Except)), l.generation).
				QueryRow(func(row pgx.Row) error {
					err := row.Scan(&u.expected[i])
					u.expected[i] = e.unseen(u.expected[i])
					return err
				})
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return q.db.read.SendBatch(ctx, &b).Close()
}

func roomNames(rooms []Room) []string {
	names := make([]string, len(rooms))
	for i, r := range rooms {
		names[i] = r.name
	}
	return names
}

// askRow is an ask as culvert.ask reads it.
type askRow struct {
	Pos      int32    `json:"pos"`
	NS       int32    `json:"ns"`
	Sender   *string  `json:"sender"`
	Rooms    []string `json:"rooms"`
	Except   []string `json:"except_"`
	MS       int32    `json:"ms"`
	Expected []string `json:"expected"` // never null without a count
	Count    *int     `json:"count"`
}

func newAskRow(u *unit, i int, pos, ns int32) askRow {
	e := &u.emits[i]
	row := askRow{Pos: pos, NS: ns, Rooms: roomNames(e.rooms()), Except: roomNames(e.Except), MS: e.Reply.milliseconds()}
	if e.From != (Client{}) {
		row.Sender = &e.From.name
	}
	if e.Reply.Count > 0 {
		row.Count = &e.Reply.Count
	} else {
		row.Expected = u.expected[i]
	}
	return row
}

// askParams are the batch's arguments about replies: hardly any batch has some,
// and then they cost nothing.
func (b *batch) askParams() (replyMS []int32, asks *string, err error) {
	if len(b.asks) == 0 {
		return []int32{}, nil, nil
	}
	text, err := json.Marshal(b.asks)
	if err != nil {
		return nil, nil, err
	}
	s := string(text)
	return b.replyMS, &s, nil
}
