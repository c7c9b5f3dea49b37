package queue

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

const revokeSQL = `
INSERT INTO culvert.revocations AS r (namespace_id, client, at)
SELECT n.id, $2, clock_timestamp()
  FROM culvert.namespaces n
 WHERE n.name = $1
ON CONFLICT (namespace_id, client) DO UPDATE
   SET at = excluded.at`

// Revoke has every instance refuse the tokens of a client that were issued up to
// now, and end what is open with them, within a second. The client's cursor and rooms
// stay: with a newer token it goes on. Errors: ErrUnavailable.
func (r *Registry) Revoke(ctx context.Context, ns Namespace, c Client) error {
	return r.change(ctx, "revoke", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT culvert.make_namespace($1)`, ns.name); err != nil {
			return unavailable(ctx, "revoke", err)
		}
		_, err := tx.Exec(ctx, revokeSQL, ns.name, c.name)
		return unavailable(ctx, "revoke", err)
	})
}

// RevokedAt is when the client was revoked last; zero: never. It never blocks.
func (r *Registry) RevokedAt(ns Namespace, c Client) time.Time {
	return r.now.Load().revoked[clientKey{ns, c}]
}

// Revocations is how many clients were ever revoked. It never blocks.
func (r *Registry) Revocations() int { return len(r.now.Load().revoked) }

const revocationsSQL = `
SELECT n.name, r.client, r.at
  FROM culvert.revocations r
  JOIN culvert.namespaces n ON n.id = r.namespace_id AND n.name IS NOT NULL`

func loadRevocations(ctx context.Context, db *pgxpool.Pool) (map[clientKey]time.Time, error) {
	rows, err := db.Query(ctx, revocationsSQL)
	if err != nil {
		return nil, err
	}
	revoked := map[clientKey]time.Time{}
	var key clientKey
	var at pgtype.Timestamptz
	_, err = pgx.ForEachRow(rows, []any{&key.ns.name, &key.client.name, &at}, func() error {
		revoked[key] = moment(at)
		return nil
	})
	return revoked, err
}
