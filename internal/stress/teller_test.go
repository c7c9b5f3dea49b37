package stress

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// bothWays is the number of a publisher whose events come by HTTP and SQL, in any order.
const bothWays = -1

const oneKeyOneEvent = "one key and one content by HTTP and SQL is one event"

// teller publishes from SQL transactions, which are committed, rolled back and held
// open at random.
type teller struct {
	c      *caller
	id     int
	n      int
	goesOn func() bool
	conn   *pgx.Conn
}

// connect returns nil while Postgres is down.
func (p *teller) connect(ctx context.Context) *pgx.Conn {
	if p.conn != nil && !p.conn.IsClosed() {
		return p.conn
	}
	dsn := p.c.s.front.dsn()
	if p.c.s.pooler != nil && p.id%2 == 0 {
		dsn = p.c.s.pooler.dsn()
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		p.c.pause(ctx, 100)
		return nil
	}
	p.conn = conn
	return conn
}

func (p *teller) disconnect(ctx context.Context) {
	if p.conn != nil {
		_ = p.conn.Close(ctx)
	}
}

func (p *teller) run(ctx context.Context) {
	defer p.disconnect(ctx)
	for p.goesOn() {
		conn := p.connect(ctx)
		if conn == nil {
			continue
		}
		var all []*fact
		keyed := p.c.rnd.IntN(2) == 0
		for range 1 + p.c.rnd.IntN(4) {
			f := &fact{name: name(p.id, p.n), namespace: "default", publisher: p.id, keyed: keyed, rooms: somewhere(p.c.rnd.IntN(100), p.id, p.n)}
			p.n++
			all = append(all, f)
		}
		p.c.s.facts.plan(all...)
		p.settle(ctx, all, p.transact(ctx, conn, all))
		p.c.pause(ctx, 100)
	}
}

// settle notes how a transaction ended. A transaction whose outcome is unknown is repeated if its
// events have keys.
func (p *teller) settle(ctx context.Context, all []*fact, how fate) {
	for deadline := time.Now().Add(time.Minute); how != stored && all[0].keyed && p.c.rnd.IntN(2) == 0 && time.Now().Before(deadline); {
		if how == unstored {
			break
		}
		if conn := p.connect(ctx); conn != nil {
			p.c.s.verdict.count("SQL transactions repeated", 1)
			if again := p.transact(ctx, conn, all); again != unstored { // a second rollback says nothing about the first try
				how = again
			}
		}
	}
	p.c.s.facts.settle(how, all...)
}

// transact emits all events in one transaction.
func (p *teller) transact(ctx context.Context, conn *pgx.Conn, all []*fact) fate {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return unstored
	}
	for _, f := range all {
		if err := p.emit(ctx, tx, f); err != nil {
			p.failed(err, f)
			_ = tx.Rollback(ctx)
			return unstored
		}
	}
	p.c.pause(ctx, 30)
	if p.c.rnd.IntN(40) == 0 {
		p.c.pause(ctx, 3000)
	}
	if p.c.rnd.IntN(4) == 0 {
		_ = tx.Rollback(ctx)
		p.c.s.verdict.count("SQL transactions rolled back", 1)
		return unstored
	}
	if err := tx.Commit(ctx); err != nil {
		return unknown
	}
	p.c.s.verdict.count("SQL transactions", 1)
	return stored
}

func (p *teller) emit(ctx context.Context, tx interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}, f *fact) error {
	var key *string
	if f.keyed {
		text := "key of " + f.name
		key = &text
	}
	_, err := tx.Exec(ctx, `SELECT culvert.emit(rooms => $1::text[], event => $2::text, data => jsonb_build_object('name', $3::text, 'long', $5::text), key => $4::text)`,
		f.rooms, eventName(f), f.name, key, long(f))
	return err
}

// failed reports errors of Postgres that are not expected during faults.
func (p *teller) failed(err error, f *fact) {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return
	}
	switch e.Code[:2] {
	case "08", "57", "25", "26", "55": // connections, shutdowns, read only, a statement lost with the pooler's server
		return
	}
	promise := "a valid emit from SQL is accepted"
	if f.publisher == bothWays {
		promise = oneKeyOneEvent
	}
	p.c.s.verdict.breaks(promise, "%s by SQL: %s %s", f.name, e.Code, e.Message)
}

// runBoth emits the same event with the same key by HTTP and from SQL, at once or one
// after the other: it must be stored as one event.
func (p *teller) runBoth(ctx context.Context) {
	defer p.disconnect(ctx)
	for ; p.goesOn(); p.n++ {
		f := &fact{name: name(p.id, p.n), namespace: "default", publisher: bothWays, keyed: true, rooms: []string{"stress"}}
		conn := p.connect(ctx)
		if conn == nil {
			continue
		}
		p.c.s.facts.plan(f)
		sql := make(chan bool, 1)
		go func() {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			err := p.emit(ctx, conn, f)
			if err != nil {
				p.failed(err, f)
			}
			sql <- err == nil
		}()
		bySQL := false
		after := p.c.rnd.IntN(2) == 0
		if after {
			bySQL = <-sql
			p.c.pause(ctx, 60)
		}
		a := p.c.insist(ctx, http.MethodPost, "default/emit", body(f))
		if !after {
			bySQL = <-sql
		}
		var c confirmation
		switch {
		case a.ok() && json.Unmarshal(a.text, &c) == nil:
			f.offset = c.Offset
		case a.status != 0:
			p.c.s.verdict.breaks(oneKeyOneEvent, "%s by HTTP: %d %s", f.name, a.status, a.text)
		}
		if a.ok() || bySQL {
			p.c.s.facts.settle(stored, f)
			p.c.s.verdict.count("keys by HTTP and SQL", 1)
		}
		p.c.pause(ctx, 300)
	}
}
