package registry

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
)

const revokeSQL = `
INSERT INTO culvert.revoked_clients AS r (namespace, client, at)
VALUES ($1, $2, clock_timestamp())
ON CONFLICT (namespace, client) DO UPDATE
   SET at = greatest(r.at, excluded.at)`

// Revoke makes every instance refuse, within a second, the client's tokens that were issued up to now, and end
// the sessions that use them. Tokens that were refused before stay refused even if the clock was set back. The
// client's cursor and rooms stay: with a newer token it continues. A revocation belongs to the namespace's name,
// also when the namespace is deleted and made again. It never ends, because nobody knows how long the refused
// tokens are valid. Errors: ErrUnavailable.
func (r *Registry) Revoke(ctx context.Context, ns event.Namespace, c event.Client) error {
	return r.change(ctx, "revoke", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, revokeSQL, ns.String(), c.String())
		return postgres.Unavailable(ctx, "revoke", err)
	})
}

// RevokedAt returns when the client was revoked last; zero: never. It never blocks.
func (r *Registry) RevokedAt(ns event.Namespace, c event.Client) time.Time {
	return r.now.Load().revoked[named{ns, c}]
}

// Revocations returns how many clients were ever revoked. It never blocks.
func (r *Registry) Revocations() int { return len(r.now.Load().revoked) }
