package queue

import (
	"context"
	"errors"
	"time"
)

// blockersSQL finds the sessions of others that have a lock of a table of Culvert's in the
// way, or wait for one, behind which whoever comes later waits. Postgres lets a role wait
// for it (CREATE RULE) before it asks whether the role may.
const blockersSQL = `
SELECT coalesce(string_agg(DISTINCT a.pid || ' (' || a.usename || ')', ', '), '')
  FROM pg_locks l
  JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
  JOIN pg_class c ON c.oid = l.relation AND c.relnamespace = to_regnamespace('culvert')
  JOIN pg_stat_activity a ON a.pid = l.pid AND a.usename <> session_user
 WHERE l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')`

// blockers names the sessions behind which a statement waited until its time was over, as
// an attribute for the log; none where it failed otherwise, or nobody is known. Somebody
// has to end them by hand: Culvert may not.
func (p *pools) blockers(ctx context.Context, failed error) []any {
	if !errors.Is(failed, context.DeadlineExceeded) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	var pids string
	if err := p.work.pool.QueryRow(ctx, blockersSQL).Scan(&pids); err != nil || pids == "" {
		return nil
	}
	return []any{"behind", pids}
}
