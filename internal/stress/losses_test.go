package stress

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// loss is a fault that lost the end of the log. What survived was
// read from the database while nobody else could reach it.
type loss struct {
	what  string
	safe  time.Time // everything confirmed before this must have survived
	begun time.Time // nobody could connect from here …
	end   time.Time // … to here
	head  int64     // the last offset that survived
	known int64     // the last offset that anybody was told: (head, known] must never come again
	kept  map[int64]string
}

// losses are all losses so far.
type losses struct {
	mu    sync.Mutex
	all   []loss
	epoch int // odd while a loss is under way
}

func (l *losses) list() []loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all
}

// now returns the epoch, and whether no loss is under way.
func (l *losses) now() (epoch int, quiet bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch, l.epoch%2 == 0
}

func (l *losses) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch++
}

func (l *losses) finish(one loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch++
	l.all = append(l.all, one)
}

// took returns the loss that lost an event with this offset, whose emit began at begun.
func (l *losses) took(offset int64, begun time.Time) *loss {
	for _, one := range l.list() {
		if offset > one.head && offset <= one.known && begun.Before(one.end) {
			return &one
		}
	}
	return nil
}

// mayTake returns a loss that may have lost an event whose offset is unknown.
func (l *losses) mayTake(begun, confirmed time.Time) *loss {
	for _, one := range l.list() {
		if begun.Before(one.end) && (confirmed.IsZero() || confirmed.After(one.safe)) {
			return &one
		}
	}
	return nil
}

// query asks a cluster for one value, without the forwarder.
func query[T any](ctx context.Context, c *cluster, sql string, args ...any) (v T, err error) {
	conn, err := pgx.Connect(ctx, c.server.DSN())
	if err != nil {
		return v, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, sql, args...).Scan(&v)
	return v, err
}

// await repeats a query until it returns true.
func await(ctx context.Context, c *cluster, what, sql string, args ...any) error {
	for deadline := time.Now().Add(40 * time.Second); ; rest(ctx, 20*time.Millisecond) {
		yes, err := query[bool](ctx, c, sql, args...)
		if err == nil && yes {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("waiting for %s, which is %v: %w", what, yes, err)
		}
	}
}

// lose shuts the gate, calls replace, which puts another history in the place of this one,
// reads what survived, and opens the gate again.
func (s *soak) lose(ctx context.Context, what string, safe time.Time, replace func() error) error {
	one := loss{what: what, safe: safe, begun: time.Now()}
	s.losses.begin()
	s.front.shut()
	if err := await(ctx, s.primary, "the sessions to end",
		`SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'culvert' AND pid <> pg_backend_pid()`); err != nil {
		return err
	}
	// Joins and leaves take offsets, too.
	before, err := query[int64](ctx, s.primary, `SELECT greatest((SELECT max("offset") FROM culvert.events), (SELECT last_value FROM culvert.offsets))`)
	if err != nil {
		return err
	}
	if err := replace(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := s.survey(ctx, &one); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	s.facts.tell(before)
	one.known = s.facts.known.Load()
	one.end = time.Now()
	s.losses.finish(one)
	s.front.to("unix", s.primary.socket())
	s.verdict.count("events lost by faults", int(before-one.head))
	s.verdict.note("%s: the history continues after %d; %d was the last that was known", what, one.head, one.known)
	return nil
}

// survey reads what survived.
func (s *soak) survey(ctx context.Context, one *loss) error {
	conn, err := pgx.Connect(ctx, s.primary.server.DSN())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, `SELECT DISTINCT "offset", data FROM culvert.events WHERE data IS NOT NULL ORDER BY 1`)
	if err != nil {
		return err
	}
	one.kept = map[int64]string{}
	var data string
	if _, err := pgx.ForEachRow(rows, []any{&one.head, &data}, func() error {
		one.kept[one.head] = data
		return nil
	}); err != nil {
		return err
	}
	return s.surveyAcks(ctx, conn, one.safe)
}

// promote makes the standby the primary; the old one never comes back.
func (s *soak) promote(ctx context.Context, h happening, standby *cluster) error {
	if err := await(ctx, s.primary, "the standby to follow", `SELECT count(*) > 0 FROM pg_stat_replication WHERE state = 'streaming'`); err != nil {
		return err
	}
	safe := time.Now()
	lsn, err := query[string](ctx, s.primary, `SELECT pg_current_wal_flush_lsn()::text`)
	if err != nil {
		return err
	}
	if err := await(ctx, s.primary, "the standby to catch up", `SELECT count(*) > 0 FROM pg_stat_replication WHERE flush_lsn >= $1::text::pg_lsn`, lsn); err != nil {
		return err
	}
	s.feed.shut()
	rest(ctx, h.lasts)
	old := s.primary
	return s.lose(ctx, h.String(), safe, func() error {
		if err := old.server.StopImmediate(ctx); err != nil {
			return err
		}
		if err := standby.promote(ctx); err != nil {
			return err
		}
		s.primary = standby
		s.feed.to("unix", standby.socket())
		return old.remove()
	})
}

// takeSnapshot stops Postgres for a moment and copies its folder.
func (s *soak) takeSnapshot(ctx context.Context) (taken time.Time, err error) {
	taken = time.Now()
	if err := s.primary.server.StopImmediate(ctx); err != nil {
		return taken, err
	}
	if err := s.primary.snapshot(filepath.Join(s.primary.dir, "snapshot")); err != nil {
		return taken, err
	}
	return taken, s.primary.server.StartAgain(ctx)
}

// putBack restores the snapshot.
func (s *soak) putBack(ctx context.Context, h happening, taken time.Time) error {
	if h.apart {
		for _, p := range append(s.instances, s.handler) {
			p.use.Lock()
			defer p.use.Unlock()
			p.kill()
			defer p.start(ctx)
		}
	}
	return s.lose(ctx, h.String(), taken, func() error {
		if err := s.primary.server.StopImmediate(ctx); err != nil {
			return err
		}
		if err := s.primary.putBack(filepath.Join(s.primary.dir, "snapshot")); err != nil {
			return err
		}
		return s.primary.server.StartAgain(ctx)
	})
}
