package postgres

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
)

// Outage logs that something is refused because of Postgres, and that it works again: one line each, however
// many requests there are in between. The reason, such as a full disk or a lock, is logged nowhere else. Only
// one goroutine may use it.
type Outage struct {
	log  *slog.Logger
	db   *pgxpool.Pool // its connections may wait
	what string        // what is refused, in the plural
	on   bool
}

// NewOutage returns an Outage that logs to log; what, in the plural, is what is refused. Connections of db may
// wait.
func NewOutage(log *slog.Logger, db *pgxpool.Pool, what string) Outage {
	return Outage{log: log, db: db, what: what}
}

// Note takes the outcome of an attempt. Errors that concern only that attempt are ignored.
func (o *Outage) Note(ctx context.Context, err error) {
	switch {
	case err == nil && o.on:
		o.on = false
		o.log.Info(o.what + " are stored again")
	case errors.Is(err, context.Canceled): // the queue is being closed
	case errors.Is(err, event.ErrUnavailable) && !o.on:
		o.on = true
		o.log.Error(o.what+" are refused until Postgres can store them", append([]any{"error", err}, blockers(ctx, o.db, err)...)...)
	}
}

// blockersSQL finds the sessions of other roles that hold a strong lock of a table of Culvert's, or wait for
// one: everybody who comes later waits behind both. Postgres lets a role wait for such a lock (CREATE RULE)
// before it checks whether the role may take it.
const blockersSQL = `
SELECT coalesce(string_agg(DISTINCT a.pid || ' (' || a.usename || ')', ', '), '')
  FROM pg_locks l
  JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
  JOIN pg_class c ON c.oid = l.relation AND c.relnamespace = to_regnamespace('culvert')
  JOIN pg_stat_activity a ON a.pid = l.pid AND a.usename <> session_user
 WHERE l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')`

// blockers returns the sessions behind which a statement waited until its time was over, as an attribute for
// the log; nothing if it failed otherwise, or no session is found. An operator has to end them: Culvert has no
// right to.
func blockers(ctx context.Context, db *pgxpool.Pool, failed error) []any {
	if !errors.Is(failed, context.DeadlineExceeded) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	var pids string
	if err := db.QueryRow(ctx, blockersSQL).Scan(&pids); err != nil || pids == "" {
		return nil
	}
	return []any{"behind", pids}
}
