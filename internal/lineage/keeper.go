package lineage

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
)

// Keeper knows which database this instance works on, and the ids that are valid there.
type Keeper struct {
	o        Options
	now      atomic.Pointer[Lineage]
	ids      *Directory
	renewing chan struct{} // of capacity 1: see Renew
}

// Options configure Open. Its functions must not call methods of the keeper other than Load.
type Options struct {
	DB *pgxpool.Pool
	// Dedup is how long idempotency keys are remembered. Every look stores it in the database.
	Dedup  time.Duration
	Logger *slog.Logger
	// Reset makes all connections be opened again, because some may lead to another server.
	Reset func()
	// Position is the newest position this instance has read.
	Position func() event.Cursor
	// Adopt is called with each new history, the first one included, before Load returns it; its newest event
	// is at head. Adopt must drop what this instance has of the log, unless all of it belongs to that history;
	// kept reports that it does. Adopted is called afterwards, except for the first history.
	Adopt   func(l *Lineage, head event.Offset) (kept bool)
	Adopted func()
}

// Open finds out which database this is, and calls Adopt with it. Errors:
// event.ErrUnavailable, or that the database has no schema.
func Open(ctx context.Context, o Options) (*Keeper, error) {
	k := &Keeper{o: o, ids: newDirectory(o.DB), renewing: make(chan struct{}, 1)}
	l, head, err := k.Look(ctx)
	if err != nil {
		return nil, err
	}
	k.ids.renew(l.Generation)
	o.Adopt(l, head)
	k.now.Store(l)
	return k, nil
}

// Load returns the lineage as of the last look. It never blocks.
func (k *Keeper) Load() *Lineage { return k.now.Load() }

// IDs returns the ids of namespaces and rooms.
func (k *Keeper) IDs() *Directory { return k.ids }

const openSQL = `
SELECT log, head, floor, generation, firsts, lasts
  FROM culvert.open($1)`

// Look identifies the log and reads its lineage and its head.
func (k *Keeper) Look(ctx context.Context) (l *Lineage, head event.Offset, err error) {
	l = &Lineage{}
	var firsts []event.Offset
	var lasts []*event.Offset
	err = k.o.DB.QueryRow(ctx, openSQL, k.o.Dedup).Scan(&l.Log, &head, &l.Floor, &l.Generation, &firsts, &lasts)
	if err != nil {
		return nil, 0, postgres.MissingSchema(ctx, "open the log", err)
	}
	for i, first := range firsts {
		r := Run{first, event.MaxOffset}
		if lasts[i] != nil {
			r.Last = *lasts[i]
		}
		l.Runs = append(l.Runs, r)
	}
	if len(l.Runs) == 0 {
		return nil, 0, errors.New("open the log: culvert.runs is empty: restore the whole schema culvert")
	}
	return l, head, nil
}

// Tries bounds how often a statement is repeated with ids looked up again. More than one
// repeat means that namespaces are deleted in quick succession, or that the connections lead
// to different servers.
const Tries = 10

// WithIDs runs f, which looks up ids and uses them in a statement that checks their generation. If they turn
// out to be outdated, it looks at the database again and repeats f. Errors are f's, and those of Renew.
func (k *Keeper) WithIDs(ctx context.Context, f func(l *Lineage) error) error {
	for try := 1; ; try++ {
		l := k.now.Load() // before the first look-up
		err := f(l)
		if !postgres.IsOutdated(err) || try == Tries {
			return err
		}
		if err := k.Renew(ctx, l); err != nil {
			return err
		}
	}
}

// Renew looks at the database again after ids of `seen` were refused, and forgets what is outdated. If several
// goroutines call it at once, one of them does the work.
func (k *Keeper) Renew(ctx context.Context, seen *Lineage) error {
	select {
	case k.renewing <- struct{}{}:
		defer func() { <-k.renewing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if k.now.Load() != seen {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, postgres.ReadTimeout)
	defer cancel()
	l, head, err := k.Look(ctx)
	if postgres.IsReadOnly(err) {
		k.o.Reset() // a standby: other connections may lead to the primary
	}
	if err != nil {
		return err
	}
	// Back on a server that was left for another one: it would assign offsets that the other one has assigned.
	if at := k.o.Position(); at.Log == l.Log && at.Offset > head && at.Offset >= l.OpenRun() && !seen.SameHistory(l) {
		if err := k.Overtaken(ctx, at.Offset); err != nil {
			return err
		}
		if l, head, err = k.Look(ctx); err != nil {
			return err
		}
	}
	k.adopt(l, head)
	return nil
}

// adopt makes this instance use a new lineage. It stores the lineage last, so that for everybody who loads it,
// ids and tail belong to it.
func (k *Keeper) adopt(l *Lineage, head event.Offset) {
	old := k.now.Load()
	k.ids.renew(l.Generation)
	if old.SameHistory(l) {
		k.now.Store(l)
		return
	}
	k.o.Reset() // some connections may lead to the old server
	at := k.o.Position()
	kept := k.o.Adopt(l, head)
	k.now.Store(l)
	k.o.Logger.Warn("Postgres was restarted, restored or replaced; ids and members are read again",
		"log", l.Log, "from", at.String(), "run", l.OpenRun(), "tail_kept", kept)
	k.o.Adopted()
}

// RestoredSQL makes offsets go on elsewhere after rows were restored to an earlier state.
const RestoredSQL = `
SELECT log, head, first
  FROM culvert.restored($1)`

// Overtaken is called when the tail is ahead of its log: rows were restored while the server ran. Nothing else
// shows this; that this instance has seen later events proves it.
func (k *Keeper) Overtaken(ctx context.Context, at event.Offset) error {
	var log string
	var head, first event.Offset
	if err := k.o.DB.QueryRow(ctx, RestoredSQL, at).Scan(&log, &head, &first); err != nil {
		return postgres.Unavailable(ctx, "restored", err)
	}
	k.o.Logger.Warn("the log lost its end; offsets go on elsewhere", "log", log, "known", at, "last", head, "first", first)
	return nil
}
