package queue

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
)

// presence keeps who is online. A client is online while any instance holds a lease for it in Postgres; the
// lease runs out by itself if the instance dies. The transaction that makes a client online or offline also
// emits culvert:join or culvert:leave to the rooms that are told of it.
type presence struct {
	db       *postgres.Pools
	lineage  *lineage.Keeper
	log      *slog.Logger
	instance string
	timeout  time.Duration // of one statement
	wake     chan struct{}

	mu      sync.Mutex
	present map[clientKey]*attendance
	touch   map[clientKey]time.Duration // leases to be written
}

// attendance is this instance's subscriptions of one client.
type attendance struct {
	subs  int
	lease time.Time // when it is over, as written
	left  time.Time // when subs became 0
}

const (
	leaseTime  = 30 * time.Second
	leaseSweep = 5 * time.Second
	leasePause = 5 * time.Millisecond // clients that come within it share a statement
	// leaveAfter is how long a client stays online without a subscription: a long-polling client has none
	// between two polls.
	leaveAfter = 10 * time.Second
)

func newPresence(o Options, db *postgres.Pools, k *lineage.Keeper, instance string) *presence {
	return &presence{
		db: db, lineage: k, log: o.Logger, instance: instance, timeout: o.AppendTimeout, wake: make(chan struct{}, 1),
		present: map[clientKey]*attendance{}, touch: map[clientKey]time.Duration{},
	}
}

// run is the goroutine that writes leases. When an instance stops, its leases run out by themselves; before
// that, its clients are likely to connect to other instances.
func (p *presence) run(ctx context.Context) {
	tick := time.NewTicker(leaseSweep)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
			select {
			case <-time.After(leasePause):
			case <-ctx.Done():
			}
		case <-tick.C:
			p.sweep(time.Now())
			err = p.expire(ctx)
		}
		if err := errors.Join(err, p.flush(ctx)); err != nil && ctx.Err() == nil {
			p.log.Debug("presence is not up to date; trying again at the next sweep", "error", err)
		}
	}
}

// flush writes the leases in touch.
func (p *presence) flush(ctx context.Context) error {
	p.mu.Lock()
	touch := p.touch
	p.touch = map[clientKey]time.Duration{}
	p.mu.Unlock()
	if len(touch) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	err := p.write(ctx, touch)
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		maps.Copy(touch, p.touch) // what came meanwhile is newer
		p.touch = touch
	}
	return err
}

func (p *presence) enter(ns event.Namespace, client event.Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := clientKey{ns, client}
	a := p.present[key]
	if a == nil {
		a = &attendance{}
		p.present[key] = a
	}
	a.subs++
	p.renew(key, a, time.Now())
}

func (p *presence) leave(ns event.Namespace, client event.Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.present[clientKey{ns, client}]; a != nil {
		a.subs--
		a.left = time.Now()
	}
}

// renew makes run write the lease again once a third of it is over.
func (p *presence) renew(key clientKey, a *attendance, now time.Time) {
	if a.lease.Sub(now) < leaseTime*2/3 {
		a.lease = now.Add(leaseTime)
		p.touch[key] = leaseTime
		notify(p.wake)
	}
}

// rewriteAll makes run write every lease again: the database may have lost them.
func (p *presence) rewriteAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, a := range p.present {
		a.lease = time.Time{}
		if a.subs > 0 {
			p.renew(key, a, time.Now())
		}
	}
}

// stored makes run write the lease of a client that has just been stored: before, it had no row for a lease.
func (p *presence) stored(ns event.Namespace, client event.Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := clientKey{ns, client}
	if a := p.present[key]; a != nil && a.subs > 0 {
		a.lease = time.Time{}
		p.renew(key, a, time.Now())
	}
}

// sweep renews the leases of clients with subscriptions here, and ends those of clients that have left.
func (p *presence) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, a := range p.present {
		switch {
		case a.subs > 0:
			p.renew(key, a, now)
		case now.Sub(a.left) > leaveAfter:
			delete(p.present, key)
			p.touch[key] = 0
		}
	}
}

const leaseSQL = `
SELECT culvert.lease($1, $2::int[], $3::text[], $4::interval[])
 WHERE culvert.check_ids($5)`

func (p *presence) write(ctx context.Context, touch map[clientKey]time.Duration) error {
	return p.lineage.WithIDs(ctx, func(l *lineage.Lineage) error { return p.writeOnce(ctx, l, touch) })
}

func (p *presence) writeOnce(ctx context.Context, l *lineage.Lineage, touch map[clientKey]time.Duration) error {
	rows := make([]clientRow, 0, len(touch))
	leases := make(map[clientRow]time.Duration, len(touch))
	for key, lease := range touch {
		ns, err := p.lineage.IDs().Namespace(ctx, key.ns)
		if err != nil {
			return err
		}
		row := clientRow{ns, key.client.String()}
		rows = append(rows, row)
		leases[row] = lease
	}
	slices.SortFunc(rows, clientRow.compare)
	ns, names, lease := make([]int32, len(rows)), make([]string, len(rows)), make([]time.Duration, len(rows))
	for i, row := range rows {
		ns[i], names[i], lease[i] = row.ns, row.name, leases[row]
	}
	return postgres.Repeat(ctx, func() error {
		_, err := p.db.Write.Exec(ctx, leaseSQL, p.instance, ns, names, lease, l.Generation)
		return err
	})
}

const expireSQL = `
SELECT culvert.expire_leases()`

// expire ends leases that have run out because their instances died.
func (p *presence) expire(ctx context.Context) error {
	err := postgres.Repeat(ctx, func() error {
		_, err := p.db.Write.Exec(ctx, expireSQL)
		return err
	})
	return postgres.Unavailable(ctx, "expire leases", err)
}
