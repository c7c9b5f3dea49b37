package log

import (
	"context"
	"slices"
	"strconv"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/queue/tail"
)

// MostAppended bounds one append, so that no emit waits long for others and a batch needs little of Postgres'
// memory. A single unit may be larger.
var MostAppended = batch.Load{Events: 2_000, Rooms: 2_000, Bytes: 2 << 20}

// appendBatch has the arguments of one culvert.append. Each event is in them once, even with several rooms; pos
// numbers the events from 1.
type appendBatch struct {
	units []*unit
	// events has, at index pos - 1, the event's unit and its index in the unit.
	events []place

	room                        []int64 // of each event, the lowest of its rooms' ids
	event, data, sender, except []string
	binary                      []bool
	replyMS                     []int32 // 0: no reply is wanted
	asks                        []askRow
	copies                      copies

	keyNS   []int32
	key     []string
	keyOwn  []string
	keyHash [][]byte
	keyPos  []int32

	spaces []string // the names of its namespaces
	until  []int64  // for each of them; see culvert.append

	lineage *lineage.Lineage // of the ids
	dry     bool             // it moves no staged events
}

// appendParams are the parameters of culvert.append.
const appendParams = `$1::text::pg_snapshot, $2::bigint::text::xid8, $3, $4::bigint[], $5::text[], $6::int[], $7::text[], $8::text[], $9::text[],
       $10::bool[], $11::text[], $12::text[], $13::int[], $14::text[], $15::bytea[], $16::int[], $17,
       $18::int[], $19::text::json, $20::text[], $21::text[], $22::bigint[]::text[]::xid8[], $23, $24`

type place struct {
	unit  *unit
	index int
}

func (p place) emit() *event.Emit { return &p.unit.emits[p.index] }

// build makes the arguments of an append, with the ids of its rooms. Also when it fails, the batch it returns
// has the lineage with which it tried.
func (a *appender) build(ctx context.Context, units []*unit) (*appendBatch, error) {
	b := &appendBatch{lineage: a.o.Lineage.Load()} // before the first look-up
	ids := map[lineage.RoomRef]int64{}
	namespaces := map[event.Namespace]int32{}
	for _, u := range units {
		if u.Answered() { // refused or settled by its keys
			continue
		}
		b.units = append(b.units, u)
		b.await(u)
		for i := range u.emits {
			e := &u.emits[i]
			ns, err := a.o.Lineage.IDs().Namespace(ctx, e.Namespace)
			if err != nil {
				return b, err
			}
			namespaces[e.Namespace] = ns
			for _, r := range e.Addressed() {
				ids[lineage.RoomRef{Namespace: ns, Room: r.String()}] = 0
			}
		}
	}
	if err := a.o.Lineage.IDs().Resolve(ctx, b.lineage.Generation, ids); err != nil {
		return b, err
	}
	for _, u := range b.units {
		first := map[keyRef]int{}
		for i := range u.emits {
			if u.results[i].Duplicate {
				continue
			}
			b.add(u, i, namespaces[u.emits[i].Namespace], ids, first)
		}
	}
	return b, nil
}

// load is what the batch takes.
func (b *appendBatch) load() (all batch.Load) {
	for _, u := range b.units {
		all = all.Plus(u.Load)
	}
	return all
}

// add appends the rows of one emit. first has the keys of the unit's emits so far.
func (b *appendBatch) add(u *unit, i int, ns int32, ids map[lineage.RoomRef]int64, first map[keyRef]int) {
	e := &u.emits[i]
	if u.hashes != nil && u.hashes[i] != nil {
		ref := keyRefOf(e)
		if _, again := first[ref]; again {
			return // finish gives it the first one's offset
		}
		first[ref] = i
		b.keyNS = append(b.keyNS, ns)
		b.key = append(b.key, e.Key.String())
		b.keyOwn = append(b.keyOwn, e.KeyOwner.String())
		b.keyHash = append(b.keyHash, u.hashes[i])
		b.keyPos = append(b.keyPos, int32(len(b.events)+1)) //nolint:gosec // at most as many as a batch has
	}
	b.events = append(b.events, place{u, i})
	except := postgres.RoomArray(e.Except)
	if e.Reply.Wanted() {
		b.asks = append(b.asks, newAskRow(u, i, int32(len(b.events)), ns)) //nolint:gosec // as above
	}
	rooms := e.Addressed()
	if len(rooms) == 1 {
		b.room = append(b.room, ids[lineage.RoomRef{Namespace: ns, Room: rooms[0].String()}])
	} else {
		all := make([]int64, len(rooms))
		for i, r := range rooms {
			all[i] = ids[lineage.RoomRef{Namespace: ns, Room: r.String()}]
		}
		slices.Sort(all)
		b.room = append(b.room, all[0])
		b.copies.add(len(b.events), all[1:], e.Data.JSON(), except)
	}
	b.event = append(b.event, e.Event.String())
	b.data = append(b.data, e.Data.JSON())
	b.sender = append(b.sender, e.From.String())
	b.except = append(b.except, except)
	b.binary = append(b.binary, e.Data.Binary())
	b.replyMS = append(b.replyMS, e.Reply.Milliseconds())
}

// await makes the batch wait for the staged events that come before a unit of it.
func (b *appendBatch) await(u *unit) {
	for ns := range u.namespaces {
		if !slices.Contains(b.spaces, ns.String()) {
			b.spaces = append(b.spaces, ns.String())
			b.until = append(b.until, u.until.on(b.lineage))
		}
	}
}

// copies are the rows of events for their rooms beyond the first, as arguments of culvert.append. They end with
// the last event that has several rooms.
type copies struct {
	rooms []string
	size  []int32
	brief []string
}

// add makes the event at pos be stored for more rooms. Data that is not brief is stored with the first room
// only.
func (c *copies) add(pos int, rooms []int64, data, except string) {
	for len(c.rooms) < pos-1 {
		c.rooms, c.size, c.brief = append(c.rooms, ""), append(c.size, 0), append(c.brief, "")
	}
	list := []byte{'{'}
	for i, id := range rooms {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, id, 10)
	}
	c.rooms = append(c.rooms, string(append(list, '}')))
	if len(data)+len(except) <= tail.ShortData {
		c.size, c.brief = append(c.size, 0), append(c.brief, data)
	} else {
		c.size, c.brief = append(c.size, int32(len(data))), append(c.brief, "") //nolint:gosec // at most MaxData
	}
}
