package log

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
)

const expectedSQL = `
SELECT culvert.expected($1, $2, $3, $4)
 WHERE culvert.check_ids($5)`

// nobody is the name of no party. If only nobody is expected to reply, the replies are never complete.
const nobody = "\x01"

// listed returns the rooms whose members the asker may see.
func listed(e *event.Emit, rooms []event.Room) []event.Room {
	if e.Lists == nil {
		return rooms
	}
	return slices.DeleteFunc(slices.Clone(rooms), func(r event.Room) bool { return !e.Lists(r) })
}

// unseen adds who is expected to reply from rooms whose members the asker may not see. The name of a client's
// own room tells who is in it, so this client is expected to reply, online or not. From other such rooms no
// reply is expected. If none at all is expected then, the replies are never complete.
func unseen(e *event.Emit, expected []string) []string {
	if e.Lists == nil {
		return expected
	}
	hidden := false
	for _, r := range e.Addressed() {
		if e.Lists(r) {
			continue
		}
		hidden = true
		if own, ok := strings.CutPrefix(r.String(), "@"); ok && !slices.Contains(expected, own) {
			expected = append(expected, own)
		}
	}
	if hidden && len(expected) == 0 {
		return []string{nobody}
	}
	return expected
}

// expect finds out who is to reply to the asks that give no count. It does so before the append, because all
// emits wait for the append lock, and once for all asks that go to the same clients. Rooms whose members the
// asker may not see are left out, both the event's rooms and its exceptions: else the asker could tell from the
// completion of the replies who is in them.
func (lg *Log) expect(caller context.Context, units ...*unit) error {
	asks := audiences(units)
	if len(asks) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(caller, postgres.ReadTimeout)
	defer cancel()
	err := lg.o.Lineage.WithIDs(ctx, func(l *lineage.Lineage) error { return lg.expectOnce(ctx, l, asks) })
	if err != nil {
		return postgres.Unavailable(caller, "expected replies", err)
	}
	for _, a := range asks {
		for n, at := range a.asks {
			if at.unit.expected == nil {
				at.unit.expected = make([]*audience, len(at.unit.emits))
			}
			at.unit.expected[at.emit] = a
			if n == 0 || at.unit != a.asks[n-1].unit {
				at.unit.Load.Bytes += a.bytes()
			}
		}
	}
	return nil
}

// audiences returns the audiences of all asks that give no count.
func audiences(units []*unit) (all []*audience) {
	var known map[string]*audience
	for _, u := range units {
		for i := range u.emits {
			e := &u.emits[i]
			if !e.Reply.Wanted() || e.Reply.Count > 0 {
				continue
			}
			key := audienceOf(e)
			a := known[key]
			if a == nil {
				if a = (&audience{emit: e}); known == nil {
					known = map[string]*audience{}
				}
				known[key], all = a, append(all, a)
			}
			a.asks = append(a.asks, askAt{u, i})
		}
	}
	return all
}

// audienceOf returns a text that is equal for emits whose asks go to the same parties. It has the event's name
// because handlers are chosen by it. No name has a control character, so line ends separate them.
func audienceOf(e *event.Emit) string {
	var b strings.Builder
	b.WriteString(e.Namespace.String() + "\n" + e.Event.String() + "\n")
	for _, rooms := range [][]event.Room{e.Addressed(), e.Except} {
		for _, r := range event.UniqueRooms(rooms) {
			b.WriteString(r.String() + "\n")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// quickly is the longest round trip after which the next one asks for more audiences.
const quickly = 5 * time.Millisecond

// expectOnce asks for a few audiences at a time, for more of them while answers come quickly: others wait for
// the connection.
func (lg *Log) expectOnce(ctx context.Context, l *lineage.Lineage, asks []*audience) error {
	for n := 1; len(asks) > 0; {
		n = min(n, len(asks))
		var b pgx.Batch
		for _, a := range asks[:n] {
			e := a.emit
			ns, err := lg.o.Lineage.IDs().Namespace(ctx, e.Namespace)
			if err != nil {
				return err
			}
			b.Queue(expectedSQL, ns, e.Event.String(), roomNames(listed(e, e.Addressed())), roomNames(listed(e, e.Except)), l.Generation).
				QueryRow(func(row pgx.Row) error {
					err := row.Scan(&a.parties)
					a.parties = unseen(e, a.parties)
					return err
				})
		}
		var took time.Duration
		err := lg.o.DB.Read.Use(ctx, asks[0].emit.Namespace, asks[0].emit.From, postgres.Long, func(db *pgxpool.Pool) error {
			start := time.Now()
			defer func() { took = time.Since(start) }()
			return db.SendBatch(ctx, &b).Close()
		})
		if err != nil {
			return err
		}
		if asks = asks[n:]; took < quickly {
			n *= 2
		} else {
			n = 1
		}
	}
	return nil
}

func roomNames(rooms []event.Room) []string {
	names := make([]string, len(rooms))
	for i, r := range rooms {
		names[i] = r.String()
	}
	return names
}

// asksArg has the asks of an append, in the form that culvert.ask reads.
type asksArg struct {
	Audiences []audienceRow `json:"audiences"`
	Asks      []askRow      `json:"asks"`
}

// audienceRow is who is to reply to some of the asks. Pos is the position of the first of these asks, MS the
// longest of their timeouts in milliseconds.
type audienceRow struct {
	Pos     int32    `json:"pos"`
	NS      int32    `json:"ns"`
	MS      int32    `json:"ms"`
	Parties []string `json:"parties"`
}

// askRow is one ask. Audience is the Pos of its audience, nil if the ask has a count.
type askRow struct {
	Pos      int32    `json:"pos"`
	NS       int32    `json:"ns"`
	Sender   *string  `json:"sender"`
	Rooms    []string `json:"rooms"`
	Except   []string `json:"except_"`
	MS       int32    `json:"ms"`
	Audience *int32   `json:"audience"`
	Wanted   int      `json:"wanted"`

	from *audience
}

func newAskRow(u *unit, i int, pos, ns int32) askRow {
	e := &u.emits[i]
	row := askRow{Pos: pos, NS: ns, Rooms: roomNames(e.Addressed()), Except: roomNames(e.Except), MS: e.Reply.Milliseconds(), Wanted: e.Reply.Count}
	if e.From != (event.Client{}) {
		row.Sender = new(e.From.String())
	}
	if e.Reply.Count == 0 {
		row.from = u.expected[i]
		row.Wanted = len(row.from.parties)
	}
	return row
}

// askParams returns the batch's arguments about replies. Hardly any batch has asks; without them the arguments
// are empty and cost nothing.
func (b *appendBatch) askParams() (replyMS []int32, asks *string, err error) {
	if len(b.asks) == 0 {
		return []int32{}, nil, nil
	}
	arg := asksArg{Audiences: []audienceRow{}, Asks: b.asks} // never null
	index := map[*audience]int{}
	for i := range b.asks {
		row := &b.asks[i]
		if row.from == nil {
			continue
		}
		n, known := index[row.from]
		if !known {
			n = len(arg.Audiences)
			index[row.from] = n
			arg.Audiences = append(arg.Audiences, audienceRow{Pos: row.Pos, NS: row.NS, Parties: row.from.parties})
		}
		a := &arg.Audiences[n]
		a.MS = max(a.MS, row.MS)
		pos := a.Pos
		row.Audience = &pos
	}
	text, err := json.Marshal(arg)
	if err != nil {
		return nil, nil, err
	}
	s := string(text)
	return b.replyMS, &s, nil
}
