package log

import (
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/culvertmq/culvert/event"
)

// appended is the answer of culvert.append.
type appended struct {
	movedUpTo        movedUpTo
	log              string
	prev, base, head event.Offset
	at               time.Time
	moved            int      // staged events
	moveMS           float64  // how long moving them took
	more             bool     // there may be more of them
	stored           bool     // the batch is in the log
	waits            []string // namespaces with staged events that come before the batch
	now              uint64   // staged events of transactions below this id come before the batch
	known            []int32
	knownOffset      []event.Offset
	knownSame        []bool
	generation       int64 // if not the batch's, nothing was stored

	offer   *offer       // the batch was offered, and what became of it is not known
	byOther bool         // another instance appended it
	batches int          // how many shared the transaction
	others  event.Offset // the head after the batches of others that were appended with it; 0 if none was
}

// offer is a batch that was offered: its row in culvert.offers.
type offer struct {
	at time.Time
	id pgtype.UUID
}

// columns are where to scan what culvert.append returns.
func (r *appended) columns() []any {
	return []any{
		&r.movedUpTo.seen, &r.movedUpTo.part, &r.movedUpTo.last, &r.log, &r.prev, &r.base, &r.head, &r.at,
		&r.moved, &r.more, &r.stored, &r.waits, &r.now, &r.moveMS, &r.known, &r.knownOffset, &r.knownSame, &r.generation,
	}
}

// settleKnown gives repeated emits, whose keys are known, the offset of the first, and refuses each unit with a
// key that was used for other content. It returns the units that still have emits to store.
func (b *appendBatch) settleKnown(r appended) []*unit {
	refused := map[*unit]bool{}
	for i, k := range r.known {
		p := b.events[b.keyPos[k-1]-1]
		if !r.knownSame[i] {
			refused[p.unit] = true
			continue
		}
		p.unit.results[p.index] = event.Result{Cursor: event.Cursor{Log: r.log, Offset: r.knownOffset[i]}, Duplicate: true}
	}
	var rest []*unit
	for _, u := range b.units {
		switch {
		case refused[u]:
			u.Answer(event.ErrKeyReused)
		case u.settled():
			u.Answer(nil)
		default:
			rest = append(rest, u)
		}
	}
	return rest
}

// finish fills in the results and returns the events for the tail.
func (b *appendBatch) finish(r appended) []*event.Event {
	for i, p := range b.events {
		p.unit.results[p.index].Cursor = event.Cursor{Log: r.log, Offset: r.base + event.Offset(i) + 1}
	}
	b.settleRepeats()
	events := make([]event.Event, 0, len(b.events))
	for i, p := range b.events {
		e := p.emit()
		for _, room := range e.Addressed() {
			events = append(events, event.Event{
				Log: r.log, Offset: r.base + event.Offset(i) + 1, Namespace: e.Namespace.String(), Room: room,
				Name: e.Event.String(), Data: b.data[i], Binary: e.Data.Binary(), From: e.From, At: r.at, Except: e.Except,
				ReplyUntil: e.Reply.Until(r.at),
			})
		}
	}
	out := make([]*event.Event, len(events))
	for i := range events {
		out[i] = &events[i]
	}
	return out
}

// settleRepeats handles keys that a unit uses more than once: later emits get the result of the first.
func (b *appendBatch) settleRepeats() {
	for _, u := range b.units {
		if u.hashes == nil {
			continue
		}
		first := map[keyRef]event.Cursor{}
		for i := range u.emits {
			if u.hashes[i] == nil {
				continue
			}
			ref := keyRefOf(&u.emits[i])
			if c, again := first[ref]; again {
				u.results[i] = event.Result{Cursor: c, Duplicate: true}
			} else {
				first[ref] = u.results[i].Cursor
			}
		}
	}
}
