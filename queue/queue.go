package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/queue/handlers"
	"github.com/culvertmq/culvert/queue/log"
	"github.com/culvertmq/culvert/queue/registry"
	"github.com/culvertmq/culvert/queue/tail"
)

// Queue is one instance's view of a database's log, and its delivery. Its methods are safe for concurrent use.
type Queue struct {
	db       *postgres.Pools
	lineage  *lineage.Keeper
	tail     *tail.Tail
	log      *log.Log
	registry *registry.Registry
	source   *source
	volatile *volatile
	acks     *acks
	presence *presence
	replies  *replies
	handlers *handlers.Handlers
	metrics  *metrics
	keep     time.Duration // how long the end of a membership is remembered, for volatile events that come late

	stop context.CancelFunc // ends the background work
	done sync.WaitGroup     // waits for it
}

// Open connects, checks that the schema is there, reads the head, and fills the memory for recent events with those
// that are stored, at most until ctx ends or for 5 seconds; then it goes on filling while the queue is used. It fails when
// Postgres cannot be reached or has not been migrated. The goroutines it starts end with Close.
func Open(ctx context.Context, o Options) (*Queue, error) {
	poll := o.Poll
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	db, err := postgres.OpenPools(ctx, o.pools())
	if err != nil {
		return nil, err
	}
	q, err := open(ctx, o, poll, db)
	if err != nil {
		db.Close()
		return nil, err
	}
	return q, nil
}

// open makes the parts of a queue; each is given the earlier parts that it needs. poll is the Poll that the
// caller set.
func open(ctx context.Context, o Options, poll time.Duration, db *postgres.Pools) (*Queue, error) {
	listener, err := postgres.NewListener(o.listenURL(), db, o.Logger)
	if err != nil {
		return nil, err
	}
	if err := o.tryListen(ctx, listener, poll); err != nil {
		return nil, err
	}
	if o.PollOnly {
		listener = nil
	}
	m := newMetrics()
	waiters, roster := newWaiters(), handlers.NewRoster()
	tl := tail.New(tail.Options{
		Events: o.TailEvents, Bytes: o.TailBytes, Dropped: m.volatileDropped,
		Observers: []func([]*event.Event){waiters.wakeFor, roster.Heard},
	})
	adopted := make(chan struct{}, 1)
	k, err := lineage.Open(ctx, lineage.Options{
		DB: db.Write, Dedup: o.DedupWindow, Logger: o.Logger, Reset: db.Reset,
		Position: tl.Position, Adopt: tl.Adopt, Adopted: func() { notify(adopted) },
	})
	if err != nil {
		return nil, err
	}
	faults := log.NewFaults(o.Logger, m.unreadable)
	lg := log.New(log.Options{
		DB: db, Lineage: k, Tail: tl, Metrics: m.log, Faults: faults, Logger: o.Logger, Listener: listener, Poll: o.Poll,
		Waiting: o.waits(), AppendTimeout: o.AppendTimeout,
		Retention: o.Retention, RetentionEvents: o.RetentionEvents, Slice: o.Slice, SliceEvents: o.SliceEvents,
	})
	r, err := registry.New(ctx, registry.Options{
		DB: db.Write, Changes: db.Work.Pool, Poll: registryPoll, Logger: o.Logger,
		Loaded: func(generation int64, deleted bool) {
			// The follower forgets what is remembered of an earlier generation, and the subscriptions of
			// deleted namespaces notice.
			if generation != k.Load().Generation {
				lg.LookAt(event.MaxOffset)
			}
			if deleted {
				tl.WakeAll()
			}
		},
	})
	if err != nil {
		return nil, err
	}
	instance := rand.Text() // distinguishes the leases of this process from others
	q := &Queue{db: db, lineage: k, tail: tl, log: lg, registry: r, metrics: m, keep: o.Poll + volatilePatience}
	q.presence = newPresence(o, db, k, instance)
	q.source = &source{db: db, lineage: k, tail: tl, log: lg, registry: r, presence: q.presence, idle: newIdle(o.SessionIdle), resumes: newResumes(db, k, tl)}
	q.volatile = newVolatile(o, db, k, faults, instance, newDelivery(o, tl, lg))
	q.volatile.from = q.volatile.newest(ctx)
	q.acks = newAcks(o, db, k, tl, m)
	q.replies = &replies{db: db, lineage: k, log: lg, waiting: batch.NewGate(o.waits()), waiters: waiters}
	q.handlers = handlers.New(handlers.Options{
		Lineage: k, DB: db.Work.Pool, Timeout: o.AppendTimeout, Reply: q.replies.ofHandler, Logger: o.Logger, Metrics: m.handlers,
	}, roster)
	m.register(o.Registerer, db, lg, tl)
	warm := make(chan struct{})
	q.start(context.WithoutCancel(ctx), adopted, func(ctx context.Context) {
		defer close(warm)
		if !o.cold {
			lg.Warm(ctx)
		}
	})
	timer := time.NewTimer(warmPatience)
	defer timer.Stop()
	select {
	case <-warm:
	case <-timer.C:
	case <-ctx.Done():
	}
	return q, nil
}

// warmPatience is how long Open waits for the tail to be filled: probes and deployments wait for Open.
const warmPatience = 5 * time.Second

// start starts the background work; warm fills the tail, and then ends.
func (q *Queue) start(ctx context.Context, adopted <-chan struct{}, warm func(context.Context)) {
	ctx, q.stop = context.WithCancel(ctx)
	neighbours := log.Neighbours{Registry: q.registry.RefreshSoon, Volatile: q.volatile.wakeReceiver, Sweep: q.registry.Sweep}
	for _, run := range []func(context.Context){
		func(ctx context.Context) { q.log.Run(ctx, neighbours) },
		func(ctx context.Context) { q.lookAgain(ctx, adopted) },
		warm, q.volatile.run, q.volatile.receive, q.volatile.ready.run, q.acks.run, q.presence.run, q.source.idle.run, q.source.resumes.run, q.registry.Run,
	} {
		q.done.Go(func() { run(ctx) })
	}
}

// lookAgain is a goroutine. Each time that the database turns out to be another one, it makes all parts look at
// what is in it.
func (q *Queue) lookAgain(ctx context.Context, adopted <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-adopted:
		}
		q.replies.waiters.wakeAll()
		q.presence.rewriteAll()
		q.registry.RefreshSoon()
		q.log.Announce()
		q.log.LookAt(event.MaxOffset)
	}
}

// Close lets running handlers and appends under way finish, flushes acknowledgements, ends the background work
// and closes the connections. New calls fail with ErrClosed. It waits for all of this, at most until ctx ends;
// then it also ends the contexts of handlers that still run.
func (q *Queue) Close(ctx context.Context) error {
	err := errors.Join(q.handlers.Close(ctx), q.log.Close(ctx), q.acks.queue.Close(ctx), q.volatile.queue.Close(ctx))
	q.stop()
	closed := make(chan struct{})
	go func() { // closing a connection takes long if Postgres hangs
		q.done.Wait()
		q.db.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("connections: %w", ctx.Err()))
	}
	q.metrics.unregister()
	return err
}

// Append stores all emits in one transaction, or none of them. It returns when they are committed, with one
// Result each. They may be addressed to at most 2,000 rooms in all. Errors: an *InvalidError, ErrKeyReused,
// ErrRoomQuota, ErrOverloaded, ErrUnavailable, ErrClosed, or ctx's own; then the emits may be stored
// nevertheless.
func (q *Queue) Append(ctx context.Context, emits []event.Emit) ([]event.Result, error) {
	return q.log.Append(ctx, emits)
}

// AppendEach stores each emit by itself, in order, and returns one Result each, with Err where one failed. Up
// to 8 MiB of them cost no more round trips than Append. An emit that is refused for what it is (ErrKeyReused,
// ErrRoomQuota, an *InvalidError, ErrDeleted) does not affect the others. After an emit that fails for another
// reason no later one is stored, so that a caller that sends again from there on keeps the order and stores
// nothing twice.
func (q *Queue) AppendEach(ctx context.Context, emits []event.Emit) []event.Result {
	return q.log.AppendEach(ctx, emits)
}

const pingSQL = `
SELECT pg_is_in_recovery()`

// Ping returns nil if Postgres answers and can be written to.
func (q *Queue) Ping(ctx context.Context) error {
	var standby bool
	if err := q.db.Write.QueryRow(ctx, pingSQL).Scan(&standby); err != nil {
		return postgres.Unavailable(ctx, "ping", err)
	}
	if standby {
		q.db.Reset()
		return fmt.Errorf("ping: %w: the server is a standby", event.ErrUnavailable)
	}
	return nil
}

// Head returns the newest position this instance knows of. When one of its own appends, joins and leaves
// returns, Head includes what it stored. It never blocks.
func (q *Queue) Head() event.Cursor { return q.tail.Newest() }

// Delivered returns the position up to which this instance has all events for its subscribers. It is behind
// Head while events that other instances stored are being read. It never blocks.
func (q *Queue) Delivered() event.Cursor { return q.tail.Position() }

// Registry returns what operators set. It works as long as the queue is open.
func (q *Queue) Registry() *registry.Registry { return q.registry }

// registryPoll is how often a queue looks at the version of its registry. Tests change it.
var registryPoll = 500 * time.Millisecond

// OpenRegistry opens the registry of a database for administration, without an instance. Only DatabaseURL and
// Logger of the options count. The caller closes it.
func OpenRegistry(ctx context.Context, o Options) (*registry.Registry, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	db, err := postgres.OpenOne(ctx, o.pools())
	if err != nil {
		return nil, err
	}
	r, err := registry.New(ctx, registry.Options{DB: db, Changes: db, Owns: true, Logger: o.Logger})
	if err != nil {
		db.Close()
		return nil, err
	}
	return r, nil
}

// Handle registers a handler for the events of a namespace, in all rooms, whose names match the pattern; "*"
// stands for any run of characters. Culvert's own events need a pattern that begins with "culvert:". Every
// event emitted after Handle has returned is run by an instance that has registered the handler's name, later
// if there is none at the moment. The order is not kept: several events run at a time, and a failed one is
// overtaken.
//
// The handler runs until Close. Errors: an *InvalidError, ErrUnavailable, ErrClosed.
func (q *Queue) Handle(ns event.Namespace, pattern string, f handlers.Func, options ...handlers.Option) error {
	return q.handlers.Register(ns, pattern, f, options...)
}

// Restored tells every instance on a database that rows of the log were restored while the server ran, which instances may
// not notice. Then new offsets start at another place, instances read again what they remember, and clients that were
// ahead get a gap. Calling it without need loses no event. last is the last position that the log has kept, and offsets
// continue after first. Errors: ErrUnavailable.
func Restored(ctx context.Context, databaseURL string) (last, first event.Cursor, err error) {
	o, err := Options{DatabaseURL: databaseURL}.withDefaults()
	if err != nil {
		return last, first, err
	}
	db, err := postgres.OpenOne(ctx, o.pools())
	if err != nil {
		return last, first, err
	}
	defer db.Close()
	r, err := lineage.Restore(ctx, db)
	return r.Last, r.First, err
}

// OpenOperator opens an Operator of a database; the caller must call Close.
func OpenOperator(ctx context.Context, databaseURL string) (*handlers.Operator, error) {
	o, err := Options{DatabaseURL: databaseURL}.withDefaults()
	if err != nil {
		return nil, err
	}
	db, err := postgres.OpenOne(ctx, o.pools())
	if err != nil {
		return nil, err
	}
	return handlers.NewOperator(db), nil
}
