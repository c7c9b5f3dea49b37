package queue

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
)

// Registry is what operators set and every instance must know at once: the
// namespaces with their settings, the stored API keys and the revoked clients. A Queue has one, whose
// look-ups read this instance's memory and never block; OpenRegistry gives one
// without a queue, which only changes what is stored.
type Registry struct {
	db      *pgxpool.Pool
	changes *pgxpool.Pool // may wait for locks
	own     bool          // the connections are its own, not a Queue's
	wake    chan struct{} // a change was announced
	now     atomic.Pointer[registered]

	// loaded is called with what was known before; nil without a queue.
	loaded func(old, now *registered)

	mu       sync.Mutex // one load at a time
	watchers []func()
}

// registered is the registry as this instance knows it. Nobody changes one.
type registered struct {
	version    int64
	generation int64 // of the log, see directory
	byName     map[string]space
	gone       map[int32]struct{} // namespaces that were deleted
	keys       map[string]storedKey
	revoked    map[clientKey]time.Time
}

// space is a namespace that is not as it was made.
type space struct {
	id       int32
	floor    event.Offset // no event is at or below it
	settings NamespaceSettings
}

// registryPoll is how often the version is looked at. It bounds how long a
// change may go unnoticed where notifications do not arrive. Tests change it.
var registryPoll = 500 * time.Millisecond

func newRegistry(db, changes *pgxpool.Pool) *Registry {
	r := &Registry{db: db, changes: changes, wake: make(chan struct{}, 1)}
	r.now.Store(&registered{})
	return r
}

// OpenRegistry connects to a database for those who administer it without
// running an instance. Only DatabaseURL and Logger of the options count. The
// caller closes it.
func OpenRegistry(ctx context.Context, o Options) (*Registry, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	db, err := openOne(ctx, o)
	if err != nil {
		return nil, err
	}
	r := newRegistry(db, db)
	r.own = true
	if err := r.load(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return r, nil
}

// Close closes the connection of a Registry from OpenRegistry. That of a Queue is closed with the Queue.
func (r *Registry) Close() {
	if r.own {
		r.db.Close()
	}
}

// Watch has f called after every change and every half a second, by a goroutine
// that must not be held up. It is for those who must end what a change or the
// time forbids.
func (r *Registry) Watch(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers = append(r.watchers, f)
}

// runRegistry is a goroutine that keeps the registry in memory up to date.
func (q *Queue) runRegistry(ctx context.Context) {
	tick := time.NewTicker(registryPoll)
	defer tick.Stop()
	for {
		announced := false
		select {
		case <-ctx.Done():
			return
		case <-q.Registry.wake:
			announced = true
		case <-tick.C:
		}
		// What cannot be read now is read by the next tick.
		if err := q.Registry.refresh(ctx, announced); err != nil && ctx.Err() == nil {
			q.o.Logger.Debug("registry not read; the next tick does", "error", err)
		}
		q.Registry.notice()
	}
}

// refresh loads the registry when its version is another one, or in any case.
func (r *Registry) refresh(ctx context.Context, anyway bool) error {
	ctx, cancel := context.WithTimeout(ctx, postgres.ReadTimeout)
	defer cancel()
	if !anyway {
		var version, generation int64
		if err := r.db.QueryRow(ctx, registryHeadSQL).Scan(&version, &generation); err != nil {
			return err
		}
		// A database that was put back counts its versions once more.
		if now := r.now.Load(); version == now.version && generation == now.generation {
			return nil
		}
	}
	return r.load(ctx)
}

func (r *Registry) notice() {
	r.mu.Lock()
	watchers := r.watchers
	r.mu.Unlock()
	for _, f := range watchers {
		f()
	}
}

// load reads all of it. The version comes first: what changes meanwhile is
// loaded again.
func (r *Registry) load(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := &registered{byName: map[string]space{}, gone: map[int32]struct{}{}}
	err := r.db.QueryRow(ctx, registryHeadSQL).Scan(&next.version, &next.generation)
	if err != nil {
		return postgres.MissingSchema(ctx, "registry", err)
	}
	if err := next.loadSpaces(ctx, r.db); err != nil {
		return postgres.Unavailable(ctx, "namespaces", err)
	}
	if next.keys, err = loadKeys(ctx, r.db); err != nil {
		return postgres.Unavailable(ctx, "API keys", err)
	}
	if next.revoked, err = loadRevocations(ctx, r.db); err != nil {
		return postgres.Unavailable(ctx, "revocations", err)
	}
	old := r.now.Swap(next)
	if r.loaded != nil {
		r.loaded(old, next)
	}
	return nil
}

const registryHeadSQL = `
SELECT r.version, l.generation
  FROM culvert.registry r, culvert.log l`

// change runs f in a transaction that every instance is told of, and returns
// when this one knows what it did. f's error is returned as it is.
func (r *Registry) change(ctx context.Context, what string, f func(pgx.Tx) error) error {
	var refused error
	err := pgx.BeginFunc(ctx, r.changes, func(tx pgx.Tx) error {
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

// changed loads a change of our own. It is stored, so that failing to read it
// back is no failure: the next tick does.
func (r *Registry) changed(ctx context.Context) {
	if r.load(ctx) == nil {
		r.notice()
	}
}

// registryLoaded acts on a change: what is remembered of an earlier generation
// is forgotten by the follower, and the subscriptions of deleted namespaces find out.
func (q *Queue) registryLoaded(old, now *registered) {
	if now.generation != q.lineage.Load().generation {
		q.follower.lookAt(event.MaxOffset)
	}
	if len(now.gone) > 0 && !maps.Equal(old.gone, now.gone) {
		q.tail.wakeAll()
	}
}

// wakeAll has every subscription look at what it may do now.
func (t *tail) wakeAll() {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, r := range t.rooms {
		r.wake()
	}
}
