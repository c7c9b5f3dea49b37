package stress

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// happen runs the schedule: the faults of processes and, in parallel, those of the database, each
// row one after the other.
func (s *soak) happen(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, h := range s.schedule.instances {
			if s.due(ctx, h) {
				s.process(ctx, h)
			}
		}
	})
	d := &disaster{soak: s}
	wg.Go(func() {
		for i, h := range s.schedule.database {
			d.prepare(ctx, s.schedule.database[i:])
			if !s.due(ctx, h) {
				continue
			}
			// A fault that has begun is finished, even after the end of the load.
			if err := d.strike(context.WithoutCancel(ctx), h); err != nil {
				d.errs = append(d.errs, fmt.Errorf("%s: %w", h, err))
				return
			}
		}
	})
	wg.Wait()
	return errors.Join(append(d.errs, d.close())...)
}

// due waits for the time of a happening.
func (s *soak) due(ctx context.Context, h happening) bool {
	return rest(ctx, time.Until(s.verdict.began.Add(h.at)))
}

// process kills, stops, pauses or restarts an instance or the handler's process.
func (s *soak) process(ctx context.Context, h happening) {
	p := append(s.instances, s.handler)[h.target]
	p.use.Lock()
	defer p.use.Unlock()
	s.verdict.note("%s", h)
	s.verdict.count(string(h.what), 1)
	switch h.what {
	case killed:
		p.kill()
	case terminated:
		p.terminate()
	case paused:
		if p.signal(syscall.SIGSTOP) {
			rest(ctx, h.lasts)
			p.signal(syscall.SIGCONT)
		}
		return
	}
	rest(ctx, h.lasts)
	p.start(context.WithoutCancel(ctx))
}

// disaster runs the faults of the database.
type disaster struct {
	*soak
	errs    []error
	standby *cluster
	taken   time.Time // of the snapshot
	long    sync.WaitGroup
}

// prepare makes a standby before a promotion, once no restored snapshot
// can leave it with another history.
func (d *disaster) prepare(ctx context.Context, coming []happening) {
	if d.standby != nil || ctx.Err() != nil {
		return
	}
	for _, h := range coming {
		switch h.what {
		case snapshotBack, snapshotTaken:
			return
		case promoted:
			var err error
			if d.standby, err = d.primary.standby(context.WithoutCancel(ctx), d.feed.port()); err != nil {
				d.errs = append(d.errs, fmt.Errorf("make a standby: %w", err))
			}
			return
		}
	}
}

func (d *disaster) strike(ctx context.Context, h happening) (err error) {
	d.verdict.note("%s", h)
	d.verdict.count(string(h.what), 1)
	switch h.what {
	case crashed:
		if err := d.primary.server.StopImmediate(ctx); err != nil {
			return err
		}
		rest(ctx, h.lasts)
		return d.primary.server.StartAgain(ctx)
	case poolerKilled:
		if d.pooler == nil {
			return nil
		}
		d.pooler.kill()
		rest(ctx, h.lasts)
		return d.pooler.start(ctx)
	case snapshotTaken:
		if err := os.RemoveAll(filepath.Join(d.primary.dir, "snapshot")); err != nil {
			return err
		}
		d.taken, err = d.takeSnapshot(ctx)
		return err
	case snapshotBack:
		return d.putBack(ctx, h, d.taken)
	case promoted:
		if d.standby == nil {
			return errors.New("there is no standby")
		}
		standby := d.standby
		d.standby = nil
		return d.promote(ctx, h, standby)
	}
	d.disturb(ctx, h)
	return nil
}

// disturb runs a session that disturbs others. It is not an error if another fault
// ends this session.
func (d *disaster) disturb(ctx context.Context, h happening) {
	conn, err := pgx.Connect(ctx, d.primary.server.DSN())
	if err != nil {
		d.verdict.note("%s: %v", h, err)
		return
	}
	if h.what == longOpen {
		d.long.Go(func() { d.holdOpen(ctx, conn, h) })
		return
	}
	defer conn.Close(ctx)
	switch h.what {
	case backendsEnd:
		which := []string{"ORDER BY random() LIMIT 1", "", "AND state <> 'idle'"}[h.target]
		_, err = conn.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity
			WHERE datname = 'culvert' AND pid <> pg_backend_pid() AND backend_type = 'client backend' `+which+`) a`)
	case tablesLocked:
		_, err = conn.Exec(ctx, `BEGIN; LOCK TABLE `+lockedTables[h.target]+` IN ACCESS EXCLUSIVE MODE`)
		rest(ctx, h.lasts)
	}
	if err != nil {
		d.verdict.note("%s: %v", h, err)
	}
}

// holdOpen holds a snapshot and a transaction id for a long time, and rolls back.
func (d *disaster) holdOpen(ctx context.Context, conn *pgx.Conn, h happening) {
	defer conn.Close(ctx)
	f := &fact{name: fmt.Sprintf("long %v", h.at), namespace: "default", rooms: []string{"stress"}, fate: unstored}
	d.facts.plan(f)
	d.facts.settle(unstored, f)
	_, err := conn.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ`)
	if err == nil {
		_, err = conn.Exec(ctx, `SELECT culvert.emit(room => 'stress', event => 'e', data => jsonb_build_object('name', $1::text))`, f.name)
	}
	if err != nil {
		d.verdict.note("%s: %v", h, err)
		return
	}
	rest(ctx, h.lasts)
	_, _ = conn.Exec(ctx, `ROLLBACK`)
}

func (d *disaster) close() error {
	d.long.Wait()
	if d.standby != nil {
		return d.standby.remove()
	}
	return nil
}
