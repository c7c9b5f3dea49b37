package registry

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/internal/postgres"
)

// Registry has what operators set and every instance must know at once: the namespaces with their settings, the
// stored API keys and the revoked clients. Look-ups read this instance's memory and never block.
type Registry struct {
	o    Options
	wake chan struct{} // a change was announced
	now  atomic.Pointer[registered]

	mu sync.Mutex // one load at a time
}

// Options configure New.
type Options struct {
	// DB is for reads. Changes is for changes, and its connections may wait for locks; it may be the same pool.
	DB, Changes *pgxpool.Pool
	// Owns: Close closes both.
	Owns bool
	// Poll is how often the version is read. It bounds how long a change goes unnoticed if notifications
	// do not arrive. Default: 500ms.
	Poll time.Duration
	// Loaded is called after every load, with the generation of the log that the registry is of, and whether
	// namespaces were deleted since the load before. It may be nil.
	Loaded func(generation int64, deleted bool)
	Logger *slog.Logger
}

// New reads the registry. Errors: event.ErrUnavailable, or that the database has no schema.
func New(ctx context.Context, o Options) (*Registry, error) {
	if o.Poll == 0 {
		o.Poll = 500 * time.Millisecond
	}
	r := &Registry{o: o, wake: make(chan struct{}, 1)}
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// Close closes both pools if the registry owns them.
func (r *Registry) Close() {
	if r.o.Owns {
		r.o.DB.Close()
		r.o.Changes.Close()
	}
}

// RefreshSoon makes Run read the registry again, because a change was announced. It never blocks.
func (r *Registry) RefreshSoon() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Changed returns a channel that is closed when this instance next loads the registry: after every change, and
// sometimes without one. Get the channel before you read the registry, so that you miss no change. Changed never
// blocks.
func (r *Registry) Changed() <-chan struct{} { return r.now.Load().replaced }

// Run keeps the registry in memory up to date until ctx ends.
func (r *Registry) Run(ctx context.Context) {
	tick := time.NewTicker(r.o.Poll)
	defer tick.Stop()
	for {
		announced := false
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			announced = true
		case <-tick.C:
		}
		// What cannot be read now is read at the next tick.
		if err := r.refresh(ctx, announced); err != nil && ctx.Err() == nil {
			r.o.Logger.Debug("registry not read; trying again at the next tick", "error", err)
		}
	}
}

// refresh loads the registry if its version has changed; with anyway it loads it in any case.
func (r *Registry) refresh(ctx context.Context, anyway bool) error {
	ctx, cancel := context.WithTimeout(ctx, postgres.ReadTimeout)
	defer cancel()
	if !anyway {
		var version, generation int64
		if err := r.o.DB.QueryRow(ctx, registryHeadSQL).Scan(&version, &generation); err != nil {
			return err
		}
		// A restored database may reach the same version again, so the generation counts, too.
		if now := r.now.Load(); version == now.version && generation == now.generation {
			return nil
		}
	}
	return r.load(ctx)
}

// load reads the whole registry, the version first: what changes meanwhile is loaded again.
func (r *Registry) load(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := &registered{byName: map[string]space{}, gone: map[int32]struct{}{}, replaced: make(chan struct{})}
	err := r.o.DB.QueryRow(ctx, registryHeadSQL).Scan(&next.version, &next.generation)
	if err != nil {
		return postgres.MissingSchema(ctx, "registry", err)
	}
	if err := next.loadSpaces(ctx, r.o.DB); err != nil {
		return postgres.Unavailable(ctx, "namespaces", err)
	}
	if next.keys, err = loadKeys(ctx, r.o.DB); err != nil {
		return postgres.Unavailable(ctx, "API keys", err)
	}
	if next.revoked, err = loadRevocations(ctx, r.o.DB); err != nil {
		return postgres.Unavailable(ctx, "revocations", err)
	}
	old := r.now.Swap(next)
	if r.o.Loaded != nil {
		r.o.Loaded(next.generation, len(next.gone) > 0 && (old == nil || !maps.Equal(old.gone, next.gone)))
	}
	if old != nil {
		close(old.replaced)
	}
	return nil
}

const registryHeadSQL = `
SELECT r.version, l.generation
  FROM culvert.registry r, culvert.log l`

// change runs f in a transaction, notifies every instance, and returns when this one has loaded the change. f's
// error is returned as it is.
func (r *Registry) change(ctx context.Context, what string, f func(pgx.Tx) error) error {
	var refused error
	err := pgx.BeginFunc(ctx, r.o.Changes, func(tx pgx.Tx) error {
		if refused = f(tx); refused != nil {
			return refused
		}
		_, err := tx.Exec(ctx, `SELECT culvert.registry_changed()`)
		return err
	})
	switch {
	case refused != nil:
		return refused
	case err != nil:
		return postgres.Unavailable(ctx, what, err)
	}
	r.changed(ctx)
	return nil
}

// changed loads our own change. If that fails, it is not an error: the change is stored, and the next tick loads
// it.
func (r *Registry) changed(ctx context.Context) { _ = r.load(ctx) }
