package registry

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/trusted"
)

// APIKey is a stored API key, without its secret: only a digest of the secret is stored.
type APIKey struct {
	ID         string // public, short
	Label      string
	Namespaces []event.Namespace // nil: all
	CreatedAt  time.Time
	ExpiresAt  time.Time // zero: never
	RevokedAt  time.Time // zero: not revoked
}

// tokenPrefix begins the token of a stored key: ck_<id>_<secret>.
const tokenPrefix = "ck_"

// storedKey is an APIKey with the digests of its secrets.
type storedKey struct {
	APIKey
	hash, oldHash []byte
	oldUntil      time.Time
}

// As with settings, a strange value stored by hand must not prevent the other keys from being read.
const keysSQL = `
SELECT id, label, array_remove(namespaces, NULL), created_at, expires_at, revoked_at, hash, old_hash, old_until
  FROM culvert.api_keys
 ORDER BY created_at, id`

func readKeys(ctx context.Context, db *pgxpool.Pool) ([]storedKey, error) {
	rows, err := db.Query(ctx, keysSQL)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (k storedKey, err error) {
		var names []string
		var created, expires, revoked, oldUntil pgtype.Timestamptz
		err = row.Scan(&k.ID, &k.Label, &names, &created, &expires, &revoked, &k.hash, &k.oldHash, &oldUntil)
		if names != nil {
			k.Namespaces = []event.Namespace{} // no namespaces; nil would be all
		}
		for _, name := range names {
			k.Namespaces = append(k.Namespaces, event.StoredNamespace(trusted.Of(name)))
		}
		k.CreatedAt, k.ExpiresAt, k.RevokedAt, k.oldUntil = moment(created), moment(expires), moment(revoked), moment(oldUntil)
		return k, err
	})
}

// loadKeys returns the keys that give access to something, by id.
func loadKeys(ctx context.Context, db *pgxpool.Pool) (map[string]storedKey, error) {
	all, err := readKeys(ctx, db)
	if err != nil {
		return nil, err
	}
	keys := make(map[string]storedKey, len(all))
	for _, k := range all {
		if opens := k.Namespaces == nil || len(k.Namespaces) > 0; opens && k.RevokedAt.IsZero() {
			keys[k.ID] = k
		}
	}
	return keys, nil
}
