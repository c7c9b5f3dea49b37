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

// Keeper knows which database this instance works on, and the ids that are right there.
type Keeper struct {
	o        Options
	now      atomic.Pointer[Lineage]
	ids      *Directory
	renewing chan struct{} // of capacity 1: see Renew
}

// Options configure Open. Its functions must not call the keeper, except for Load.
type Options struct {
	DB *pgxpool.Pool
	// Dedup is how long idempotency keys are remembered.
	Dedup  time.Duration
	Logger *slog.Logger
	// Reset replaces all connections, because some may lead to another server.
	Reset func()
	// Position is the newest position this instance has read.
	Position func() event.Cursor
	// Adopt is called with the first history and with each new one, whose newest event is at head, before Load returns it. It must
	// drop the events that this instance remembers unless they belong to that history; kept says that they
	// do. Adopted is called after Load returns a new history, but not for the first one.
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

// Load returns the lineage as it was last read. It never blocks.
func (k *Keeper) Load() *Lineage { return k.now.Load() }

// IDs returns the directory of ids of namespaces and rooms.
func (k *Keeper) IDs() *Directory { return k.ids }

const openSQL = `
SELECT log, head, floor, generation, firsts, lasts
  FROM culvert.open($1)`

// Look calls culvert.open, which recognises the log, and returns its lineage and head.
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

// Tries bounds how often a statement is repeated with ids that were looked up again. More than one
// repeat means that namespaces are deleted in quick succession, or that the connections lead
// to different servers.
const Tries = 10

// WithIDs runs f, which looks up ids and uses them in a statement that checks their
// generation. If Postgres refuses the generation, WithIDs renews the lineage and runs f
// again. Errors are f's.
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

// Renew finds out which database this is after ids of `seen` were refused, and forgets the
// ids of the previous one. When several callers come at once, one does the work.
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
	// This server was used before, and then left for another one: it would give out offsets up to here again.
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

// adopt makes this instance work with a new lineage. The lineage is stored last, so that callers who
// read it find ids and tail of the same lineage.
func (k *Keeper) adopt(l *Lineage, head event.Offset) {
	old := k.now.Load()
	k.ids.renew(l.Generation)
	if old.SameHistory(l) {
		k.now.Store(l)
		return
	}
	k.o.Reset() // some connections may lead to the previous server
	at := k.o.Position()
	kept := k.o.Adopt(l, head)
	k.now.Store(l)
	k.o.Logger.Warn("Postgres was restarted, restored or replaced; ids and members are read again",
		"log", l.Log, "from", at.String(), "run", l.OpenRun(), "tail_kept", kept)
	k.o.Adopted()
}

// Overtaken is called when the tail is ahead of its log: rows were put back
// under a running server. Nothing else shows that; the position that this instance has seen is the
// proof.
func (k *Keeper) Overtaken(ctx context.Context, at event.Offset) error {
	var log string
	var head, first event.Offset
	if err := k.o.DB.QueryRow(ctx, restoredSQL, at).Scan(&log, &head, &first); err != nil {
		return postgres.Unavailable(ctx, "restored", err)
	}
	k.o.Logger.Warn("the log lost its newest events; new offsets start at another place", "log", log, "known", at, "last", head, "first", first)
	return nil
}
