package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
)

// Queue is the log of one database, as one instance sees it. Its methods are
// safe for concurrent use.
type Queue struct {
	*Registry
	o          Options
	instance   string // tells the leases of this process from those of others
	db         pools
	counts     roomCounts
	ids        *directory
	lineage    atomic.Pointer[lineage]
	renewing   chan struct{} // of capacity 1: see renew
	tail       *tail
	appender   *appender
	membership *membershipWriter
	volatile   *volatile
	follower   *follower
	acks       *acks
	presence   *presence
	waiters    *waiters
	handlers   *handlers
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
	lineage, head, err := openLog(ctx, db, o.DedupWindow)
	if err != nil {
		db.close()
		return nil, err
	}
	q := &Queue{o: o, db: db, instance: rand.Text(), Registry: newRegistry(db.write, db.work.pool), renewing: make(chan struct{}, 1)}
	q.lineage.Store(lineage)
	q.replying.quota.most = load{events: o.QueueEvents, bytes: o.QueueBytes}
	q.metrics = newMetrics(q, o.Registerer)
	q.faults = newFaults(o.Logger, q.metrics)
	q.ids = newDirectory(db.write)
	q.ids.renew(lineage.generation)
	q.tail = newTail(lineage, head, o.TailEvents, o.TailBytes, q.metrics.volatileDropped)
	q.waiters = newWaiters()
	q.handlers = newHandlers(q)
	q.tail.heard = q.heard
	q.follower = newFollower(q)
	q.appender = newAppender(q)
	q.membership = newMembershipWriter(q)
	q.volatile = newVolatile(q)
	q.volatile.from = q.volatile.newest(ctx)
	q.acks = newAcks(q)
	q.presence = newPresence(q)
	q.Registry.loaded = q.registryLoaded
	if err := q.load(ctx); err != nil {
		db.close()
		q.metrics.unregister()
		return nil, err
	}

	var work context.Context
	work, q.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, run := range []func(context.Context){
		q.appender.run, q.membership.run, q.volatile.run, q.volatile.receiveVolatile, q.volatile.ready.run, q.follower.run, q.follower.listen, q.acks.run, q.presence.run,
		q.runRetention, q.runRegistry,
	} {
		q.done.Go(func() { run(work) })
	}
	return q, nil
}

// missingSchema is unavailable for the first statements on a database.
func missingSchema(ctx context.Context, what string, err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "3F000" || pg.Code == "42883" || pg.Code == "42P01") { // no schema, function, table
		return errors.New("the database has no Culvert schema yet, or an older one: run `culvert migrate up`")
	}
	return unavailable(ctx, what, err)
}

// heard is told of all that comes into the tail, and with nil that the tail
// started over.
func (q *Queue) heard(events []*Event) {
	q.waiters.heard(events)
	q.handlers.heard(events)
}

// Close lets running handlers and appends under way finish, flushes
// acknowledgements, ends the background work and closes the connections. New
// calls fail with ErrClosed. It waits for all of it, at most until ctx ends;
// handlers that still run then have their context ended.
func (q *Queue) Close(ctx context.Context) error {
	err := errors.Join(q.handlers.close(ctx), q.membership.close(ctx), q.appender.close(ctx), q.acks.close(ctx))
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
		return unavailable(ctx, "ping", err)
	}
	if standby {
		q.db.reset()
		return fmt.Errorf("ping: %w: the server is a standby", ErrUnavailable)
	}
	return nil
}

// Head is the newest position this instance knows of: of what others stored, and of all that its own
// appends, joins and leaves have stored when they return. It never blocks.
func (q *Queue) Head() Cursor { return q.tail.newest() }

// Delivered is the position up to which this instance has all events at hand for its subscribers. It is
// behind Head for the moment that it takes to read what others stored in between. It never blocks.
func (q *Queue) Delivered() Cursor { return q.tail.position() }
