package queue

import (
	"context"
	"slices"
	"time"
)

// presence counts this instance's subscriptions of one client. Who is online is
// told to the other instances by a lease in Postgres, which runs out by itself
// when the instance dies.
type presence struct {
	subs  int
	lease time.Time // as written
	left  time.Time // when subs became 0
}

const (
	leaseTime  = 45 * time.Second
	leaseSweep = 5 * time.Second
	// A long-polling client is still online between two polls.
	leaveAfter = 10 * time.Second
)

func (c *clients) enter(ns Namespace, client Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := clientKey{ns, client}
	p := c.online[key]
	if p == nil {
		p = &presence{}
		c.online[key] = p
	}
	p.subs++
	c.renew(key, p, time.Now())
}

func (c *clients) leave(ns Namespace, client Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.online[clientKey{ns, client}]; p != nil {
		p.subs--
		p.left = time.Now()
	}
}

// renew has the lease written again once a third of it is over.
func (c *clients) renew(key clientKey, p *presence, now time.Time) {
	if p.lease.Sub(now) < leaseTime*2/3 {
		p.lease = now.Add(leaseTime)
		c.touch[key] = leaseTime
		notify(c.wake)
	}
}

// sweep renews the leases of those here and ends those of the gone.
func (c *clients) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, p := range c.online {
		switch {
		case p.subs > 0:
			c.renew(key, p, now)
		case now.Sub(p.left) > leaveAfter:
			delete(c.online, key)
			c.touch[key] = 0
		}
	}
}

const leaseSQL = `
SELECT culvert.lease($1, $2::int[], $3::text[], $4::interval[])`

func (c *clients) writeLeases(ctx context.Context, touch map[clientKey]time.Duration) error {
	rows := make([]clientRow, 0, len(touch))
	leases := make(map[clientRow]time.Duration, len(touch))
	for key, lease := range touch {
		ns, err := c.q.ids.namespace(ctx, key.ns)
		if err != nil {
			return err
		}
		row := clientRow{ns, key.client.name}
		rows = append(rows, row)
		leases[row] = lease
	}
	slices.SortFunc(rows, clientRow.compare)
	ns, names, lease := make([]int32, len(rows)), make([]string, len(rows)), make([]time.Duration, len(rows))
	for i, row := range rows {
		ns[i], names[i], lease[i] = row.ns, row.name, leases[row]
	}
	_, err := c.q.db.write.Exec(ctx, leaseSQL, c.q.instance, ns, names, lease)
	return err
}
