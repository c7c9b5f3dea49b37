package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/queue/handlers"
	"github.com/culvertmq/culvert/queue/registry"
)

// Queue is the log of one database, as one instance sees it. Its methods are
// safe for concurrent use.
type Queue struct {
	o          Options
	instance   string // tells the leases of this process from those of others
	db         pools
	counts     roomCounts
	ids        *lineage.Directory
	lineage    *lineage.Keeper
	registry   *registry.Registry
	tail       *tail
	appender   *appender
	membership *membershipWriter
	volatile   *volatile
	follower   *follower
	acks       *acks
	presence   *presence
	waiters    *waiters
	handlers   *handlers.Handlers
	replying   gate // replies that wait to be stored
	metrics    *metrics
	faults     *faults

	stop context.CancelFunc // ends the background work
	done sync.WaitGroup     // of it
}

// Open connects, checks that the schema is there and reads the head; it fails
// when Postgres cannot be reached or has not been migrated. The goroutines it
// starts end with Close.
func Open(ctx context.Context, o Options) (*Queue, error) {
	poll := o.Poll
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	db, err := openPools(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := o.tryListen(ctx, &db, poll); err != nil {
		db.close()
		return nil, err
	}
	q := &Queue{o: o, db: db, instance: rand.Text()}
	var head event.Offset
	q.lineage, head, err = lineage.Open(ctx, lineage.Options{
		DB: db.write, Dedup: o.DedupWindow, Logger: o.Logger, Reset: db.reset,
		Position: func() event.Cursor { return q.tail.position() },
		Adopt:    func(l *lineage.Lineage, head event.Offset) bool { return q.tail.adopt(l, head) },
		Adopted:  q.adopted,
	})
	if err != nil {
		db.close()
		return nil, err
	}
	q.ids = q.lineage.IDs()
	q.replying.quota.most = load{events: o.QueueEvents, bytes: o.QueueBytes}
	q.metrics = newMetrics(q, o.Registerer)
	q.faults = newFaults(o.Logger, q.metrics)
	q.tail = newTail(q.lineage.Load(), head, o.TailEvents, o.TailBytes, q.metrics.volatileDropped)
	q.waiters = newWaiters()
	q.handlers = handlers.New(handlers.Options{
		Lineage: q.lineage, DB: db.work.Pool, Timeout: o.AppendTimeout, Reply: q.replyOfHandler, Logger: o.Logger, Metrics: q.metrics.handlers,
	})
	q.tail.heard = q.heard
	q.follower = newFollower(q)
	q.appender = newAppender(q)
	q.membership = newMembershipWriter(q)
	q.volatile = newVolatile(q)
	q.volatile.from = q.volatile.newest(ctx)
	q.acks = newAcks(q)
	q.presence = newPresence(q)
	q.registry, err = registry.New(ctx, registry.Options{
		DB: db.write, Changes: db.work.Pool, Poll: registryPoll, Loaded: q.registryLoaded, Logger: o.Logger,
	})
	if err != nil {
		db.close()
		q.metrics.unregister()
		return nil, err
	}

	var work context.Context
	work, q.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, run := range []func(context.Context){
		q.appender.run, q.membership.run, q.volatile.run, q.volatile.receiveVolatile, q.volatile.ready.run, q.follower.run, q.follower.listen, q.acks.run, q.presence.run,
		q.runRetention, q.registry.Run,
	} {
		q.done.Go(func() { run(work) })
	}
	return q, nil
}

// heard is told of all that comes into the tail, and with nil that the tail
// started over.
func (q *Queue) heard(events []*event.Event) {
	q.waiters.heard(events)
	q.handlers.Heard(events)
}

// Close lets running handlers and appends under way finish, flushes
// acknowledgements, ends the background work and closes the connections. New
// calls fail with ErrClosed. It waits for all of it, at most until ctx ends;
// handlers that still run then have their context ended.
func (q *Queue) Close(ctx context.Context) error {
	err := errors.Join(q.handlers.Close(ctx), q.membership.close(ctx), q.appender.close(ctx), q.acks.close(ctx))
	q.stop()
	closed := make(chan struct{})
	go func() { // a connection to a Postgres that hangs takes its time to close
		q.done.Wait()
		q.db.close()
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

const pingSQL = `
SELECT pg_is_in_recovery()`

// Ping asks Postgres; nil when it answers and can be written to.
func (q *Queue) Ping(ctx context.Context) error {
	var standby bool
	if err := q.db.write.QueryRow(ctx, pingSQL).Scan(&standby); err != nil {
		return postgres.Unavailable(ctx, "ping", err)
	}
	if standby {
		q.db.reset()
		return fmt.Errorf("ping: %w: the server is a standby", event.ErrUnavailable)
	}
	return nil
}

// Head is the newest position this instance knows of: of what others stored, and of all that its own
// appends, joins and leaves have stored when they return. It never blocks.
func (q *Queue) Head() event.Cursor { return q.tail.newest() }

// Delivered is the position up to which this instance has all events at hand for its subscribers. It is
// behind Head for the moment that it takes to read what others stored in between. It never blocks.
func (q *Queue) Delivered() event.Cursor { return q.tail.position() }

// Registry is what operators set. It lives as long as the queue.
func (q *Queue) Registry() *registry.Registry { return q.registry }

// registryPoll is how often a queue looks at the version of its registry. Tests change it.
var registryPoll = 500 * time.Millisecond

// registryLoaded acts on a change: what is remembered of an earlier generation
// is forgotten by the follower, and the subscriptions of deleted namespaces find out.
func (q *Queue) registryLoaded(generation int64, deleted bool) {
	if generation != q.lineage.Load().Generation {
		q.follower.lookAt(event.MaxOffset)
	}
	if deleted {
		q.tail.wakeAll()
	}
}

// adopted has all find out what the database that this instance works on now has.
func (q *Queue) adopted() {
	q.waiters.wakeAll()
	q.presence.again()
	q.registry.RefreshSoon()
	q.appender.announce()
	q.follower.lookAt(event.MaxOffset)
}

// OpenRegistry connects to a database for those who administer it without
// running an instance. Only DatabaseURL and Logger of the options count. The
// caller closes it.
func OpenRegistry(ctx context.Context, o Options) (*registry.Registry, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	db, err := openOne(ctx, o)
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

// Handle registers a handler for the events of a namespace whose name matches
// the pattern, in which "*" is any run of characters, whatever their rooms;
// Culvert's own events need a pattern that begins with "culvert:". Every event
// emitted after Handle has returned is run, by whatever instance has registered
// the name, even if none does at the moment. The order is not kept: several run
// at a time, and a failed one is overtaken.
//
// It runs until Close. Errors: an *InvalidError, ErrUnavailable, ErrClosed.
func (q *Queue) Handle(ns event.Namespace, pattern string, f handlers.Func, options ...handlers.Option) error {
	return q.handlers.Register(ns, pattern, f, options...)
}

// OpenOperator connects; Close must be called.
func OpenOperator(ctx context.Context, databaseURL string) (*handlers.Operator, error) {
	o, err := Options{DatabaseURL: databaseURL}.withDefaults()
	if err != nil {
		return nil, err
	}
	db, err := openOne(ctx, o)
	if err != nil {
		return nil, err
	}
	return handlers.NewOperator(db), nil
}
