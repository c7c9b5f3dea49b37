package queue

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/queue/log"
	"github.com/culvertmq/culvert/queue/tail"
)

// resumes asks Postgres for many subscriptions in one statement: those that begin within resumePause, or while the
// statement before is under way. New clients of a batch are stored together, too.
type resumes struct {
	db      *postgres.Pools
	lineage *lineage.Keeper
	tail    *tail.Tail
	queue   *batch.Queue[*resumeRequest]
}

// resumeRequest is one subscription that begins. Only run writes to it, until it is answered.
type resumeRequest struct {
	batch.Ticket
	in    Interest
	adHoc bool

	ns    int32
	found snapshot
	many  bool // it has more memberships than a batch reads
	r     resumption
}

const (
	resumePause = time.Millisecond
	resumeBytes = 1 << 10 // about what one takes while it waits
	// groupRooms is how many memberships of one client a batch reads. Clients in more rooms are asked for alone, so
	// that they do not delay others.
	groupRooms = 100
)

var (
	// mostResumes bounds one statement.
	mostResumes = batch.Load{Events: 500, Rooms: 500, Bytes: 1 << 20}
	// waitingResumes bounds those that wait: all clients may come at once.
	waitingResumes = batch.Load{Events: 200_000, Bytes: 200_000 * resumeBytes}
)

// errManyRooms says that a client is in more rooms than a batch reads.
var errManyRooms = errors.New("the client is in many rooms")

func newResumes(db *postgres.Pools, k *lineage.Keeper, t *tail.Tail) *resumes {
	return &resumes{db: db, lineage: k, tail: t, queue: batch.New[*resumeRequest](batch.Options{
		What: "subscriptions", Most: waitingResumes, Batch: mostResumes, Pause: resumePause,
	})}
}

// do waits for the answer of Postgres. Errors: event.ErrUnavailable, event.ErrOverloaded, event.ErrClosed, errManyRooms, ctx's.
func (rs *resumes) do(ctx context.Context, in Interest, adHoc bool) (resumption, error) {
	ticket := batch.NewTicket(log.CallerOf(in.Namespace, in.Client), batch.Load{Events: 1, Rooms: 1, Bytes: resumeBytes})
	r := &resumeRequest{Ticket: ticket, in: in, adHoc: adHoc}
	if err := rs.queue.Submit(r); err != nil {
		return resumption{}, err
	}
	if err := r.Wait(ctx); err != nil {
		return resumption{}, err
	}
	return r.r, nil
}

// run is the goroutine that asks.
func (rs *resumes) run(ctx context.Context) { rs.queue.Run(ctx, rs.write) }

func (rs *resumes) write(ctx context.Context, all []*resumeRequest) {
	ctx, cancel := context.WithTimeout(ctx, postgres.ReadTimeout)
	defer cancel()
	err := rs.lineage.WithIDs(ctx, func(l *lineage.Lineage) error { return rs.ask(ctx, l, all) })
	if err == nil {
		err = rs.lineage.WithIDs(ctx, func(l *lineage.Lineage) error { return rs.makeClients(ctx, l, all) })
	}
	err = postgres.Unavailable(context.WithoutCancel(ctx), "resume", err)
	for _, r := range all {
		if err == nil && r.many {
			r.Answer(errManyRooms)
		} else {
			r.Answer(err)
		}
	}
}

// resumeAllSQL is resumeSQL for several clients, in one snapshot.
const resumeAllSQL = `
SELECT w.nr, l.id, greatest(l.floor, n.floor), greatest(l.floor, (SELECT max("offset") FROM culvert.events WHERE "offset" > $4)),
       c.cursor, r.name, m.since, m.until, m.own
  FROM culvert.log l
 CROSS JOIN unnest($1::int[], $2::text[], $3::bigint[]) WITH ORDINALITY w (ns, name, start, nr)
  LEFT JOIN culvert.namespaces n ON n.id = w.ns
  LEFT JOIN culvert.clients c ON c.namespace_id = w.ns AND c.name = w.name
  LEFT JOIN LATERAL (
       SELECT a.room_id, a.since, a.until, a.own
         FROM culvert.memberships a
        WHERE a.client_id = c.id AND (a.until IS NULL OR a.until > coalesce(w.start, c.cursor))
        LIMIT $5) m ON true
  LEFT JOIN culvert.rooms r ON r.id = m.room_id
 WHERE culvert.check_ids($6)
 ORDER BY w.nr`

// ask reads the snapshots of all requests.
func (rs *resumes) ask(ctx context.Context, l *lineage.Lineage, all []*resumeRequest) error {
	at := rs.tail.Position()
	ns, names, from := make([]int32, len(all)), make([]string, len(all)), make([]*int64, len(all))
	for i, r := range all {
		var err error
		if r.ns, err = rs.lineage.IDs().Namespace(ctx, r.in.Namespace); err != nil {
			return err
		}
		r.found, r.many = snapshot{lineage: l}, false
		ns[i], names[i] = r.ns, r.in.Client.String()
		if o := r.in.from(at); o != nil {
			from[i] = new(int64(*o))
		}
	}
	first := all[0].in
	err := rs.db.Read.Use(ctx, first.Namespace, first.Client, postgres.Quick, func(db *pgxpool.Pool) error {
		rows, err := db.Query(ctx, resumeAllSQL, postgres.ReadMode(db), ns, names, from, int64(at.Offset), groupRooms+1, l.Generation)
		if err != nil {
			return err
		}
		var nr int
		var row snapshot
		var m membershipRow
		_, err = pgx.ForEachRow(rows, []any{&nr, &row.log, &row.floor, &row.head, &row.stored, &m.room, &m.since, &m.until, &m.own}, func() error {
			r := all[nr-1]
			r.found.log, r.found.floor, r.found.head, r.found.stored = row.log, row.floor, row.head, row.stored
			if r.found.add(m, r.in); len(r.found.intervals) > groupRooms {
				r.many, r.found.intervals = true, nil
			}
			return nil
		})
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range all {
		r.found.head = max(r.found.head, min(at.Offset, rs.tail.HeadOf(l)))
		r.r = r.found.resume(r.in)
	}
	return nil
}

// makeClientsSQL stores clients in the order in which all transactions lock their rows: see append.sql.
const makeClientsSQL = `
INSERT INTO culvert.clients (namespace_id, name, cursor)
SELECT n.id, w.name, CASE WHEN l.id = w.log THEN w.start ELSE greatest(l.floor, n.floor) END
  FROM culvert.log l
 CROSS JOIN unnest($1::int[], $2::text[], $3::text[], $4::bigint[]) w (ns, name, log, start)
  JOIN culvert.namespaces n ON n.id = w.ns
 WHERE culvert.check_ids($5) AND (SELECT culvert.durable())
 ORDER BY n.id, w.name COLLATE "C"
ON CONFLICT DO NOTHING`

// makeClients stores those of the clients that are new. If two subscriptions store one at once, either start is right.
func (rs *resumes) makeClients(ctx context.Context, l *lineage.Lineage, all []*resumeRequest) error {
	fresh := slices.DeleteFunc(slices.Clone(all), func(r *resumeRequest) bool { return r.adHoc || r.many || r.r.stored })
	if len(fresh) == 0 {
		return nil
	}
	ns, names, logs, starts := make([]int32, len(fresh)), make([]string, len(fresh)), make([]string, len(fresh)), make([]int64, len(fresh))
	for i, r := range fresh {
		id, err := rs.lineage.IDs().Namespace(ctx, r.in.Namespace)
		if err != nil {
			return err
		}
		ns[i], names[i], logs[i], starts[i] = id, r.in.Client.String(), r.r.start.Log, int64(r.r.start.Offset)
	}
	first := fresh[0].in
	return postgres.Repeat(ctx, func() error {
		return rs.db.Work.Use(ctx, first.Namespace, first.Client, postgres.Quick, func(db *pgxpool.Pool) error {
			_, err := db.Exec(ctx, makeClientsSQL, ns, names, logs, starts, l.Generation)
			return err
		})
	})
}
