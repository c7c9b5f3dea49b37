package queue

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/jsontext"
	"github.com/culvertmq/culvert/internal/trusted"
)

// An event that came into the log by another way than culvert.append and culvert.emit,
// or that a disk has changed, may be such that no reader could take it. It is handed to
// nobody, and whoever it was for gets a gap in its place, so that it holds up nothing.

// check says what is wrong with an event as it was read; nil: nothing. before is one that
// has been looked at, or nil.
func checkEvent(e, before *event.Event, data []byte, except []pgtype.Text) error {
	if before == nil || before.Name != e.Name || before.Fault != nil {
		if err := event.CheckName("event", e.Name, event.MaxEventName); err != nil {
			return err
		}
	}
	// Rooms that begin with a control character are Culvert's own, and no client's.
	if (before == nil || before.Room != e.Room || before.Fault != nil) && e.Namespace != "" && !strings.HasPrefix(e.Room.String(), "\x01") {
		if err := event.CheckName("room", e.Room.String(), event.MaxRoom); err != nil {
			return err
		}
	}
	if e.From.String() != "" {
		if err := event.CheckName("sender", e.From.String(), event.MaxClient); err != nil {
			return err
		}
	}
	for _, r := range except {
		if err := event.CheckName("except", r.String, event.MaxRoom); err != nil {
			return err
		}
	}
	switch {
	case e.At.IsZero() || e.At.Year() < 0 || e.At.Year() > 9999:
		return errTime
	case !jsontext.ValidLine(data):
		return errData
	case e.Binary && data[0] != '"':
		return errBinary
	}
	return nil
}

var (
	errTime   = errors.New("at is not a time between the years 0 and 9999")
	errData   = errors.New("data is not one line of JSON in UTF-8")
	errBinary = errors.New("data is to be binary, but is not a string")

	errDamaged = errors.New("Postgres cannot read the row") //nolint:staticcheck // a name
)

// isDamaged reports whether Postgres found, or ran into, rows or indexes that are not as it
// wrote them.
func isDamaged(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && strings.HasPrefix(pg.Code, "XX")
}

// skipUnreadable takes out what cannot be read, after a position: the events before it
// come first, then the gap together with what follows it.
func skipUnreadable(b event.Batch, after event.Cursor) event.Batch {
	first := slices.IndexFunc(b.Events, (*event.Event).Unreadable)
	switch {
	case first < 0:
		return b
	case first > 0:
		b.Events, b.Cursor, b.More = b.Events[:first], b.Events[first-1].Cursor(), true
		return b
	case b.Gap != nil: // one gap at a time
		b.Events, b.Cursor, b.More = nil, b.Gap.To, true
		return b
	}
	n := slices.IndexFunc(b.Events, func(e *event.Event) bool { return !e.Unreadable() })
	if n < 0 {
		n = len(b.Events)
	}
	b.Gap = &event.Gap{From: after, To: b.Events[n-1].Cursor(), Reason: event.GapUnreadable}
	b.Events = b.Events[n:]
	if next := slices.IndexFunc(b.Events, (*event.Event).Unreadable); next > 0 {
		b.Events, b.Cursor, b.More = b.Events[:next], b.Events[next-1].Cursor(), true
	}
	return b
}

// faults tells the operator of events that cannot be read, of each once.
type faults struct {
	log     *slog.Logger
	metrics *metrics

	mu   sync.Mutex
	told map[event.Offset]struct{}
}

// maxTold bounds what is remembered of them.
const maxTold = 10_000

func newFaults(log *slog.Logger, m *metrics) *faults {
	return &faults{log: log, metrics: m, told: map[event.Offset]struct{}{}}
}

// look reports those among the events.
func (f *faults) look(events ...*event.Event) {
	for _, e := range events {
		if e.Fault != nil {
			f.tell(e)
		}
	}
}

func (f *faults) tell(e *event.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, again := f.told[e.Offset]; again && !e.Volatile() {
		return
	}
	if len(f.told) >= maxTold {
		clear(f.told)
	}
	f.told[e.Offset] = struct{}{}
	f.metrics.unreadable.Inc()
	f.log.Error("an event cannot be read; it is left out, and its readers are told of a gap", "offset", e.Offset,
		"namespace", e.Namespace, "room", fmt.Sprintf("%q", e.Room.String()), "error", e.Fault)
}

// exceptOf are the rooms an event excepts; NULL among them becomes a room without a name.
func exceptOf(names []pgtype.Text) []event.Room {
	var rooms []event.Room
	for _, name := range names {
		rooms = append(rooms, event.StoredRoom(trusted.Of(name.String)))
	}
	return rooms
}
