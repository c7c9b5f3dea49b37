package registry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
)

// Limits of an APIKey.
const (
	MaxLabel         = 200
	maxKeyNamespaces = 100
)

// CreateKey stores a new key with k's Label, Namespaces and ExpiresAt, and returns it with its token. The token
// cannot be read again later. Errors: *InvalidError, ErrUnavailable.
func (r *Registry) CreateKey(ctx context.Context, k APIKey) (APIKey, string, error) {
	switch {
	case k.Namespaces != nil && len(k.Namespaces) == 0, len(k.Namespaces) > maxKeyNamespaces:
		return k, "", event.Invalidf("namespaces", "must name 1 to %d namespaces, or be nil for all", maxKeyNamespaces)
	case !k.ExpiresAt.IsZero() && !k.ExpiresAt.After(time.Now()):
		return k, "", event.Invalid("expires_at", "is in the past")
	}
	if k.Label != "" {
		if err := event.CheckName("label", k.Label, MaxLabel); err != nil {
			return k, "", err
		}
	}
	k.ID = randomHex(5)
	token, hash := newToken(k.ID)
	err := r.change(ctx, "create key", func(tx pgx.Tx) error {
		row := tx.QueryRow(ctx, createKeySQL, k.ID, hash, k.Label, namesOf(k.Namespaces), orNull(k.ExpiresAt))
		return postgres.Unavailable(ctx, "create key", row.Scan(&k.CreatedAt))
	})
	if err != nil {
		return APIKey{}, "", err
	}
	return k, token, nil
}

const createKeySQL = `
INSERT INTO culvert.api_keys (id, hash, label, namespaces, expires_at)
VALUES ($1, $2, $3, $4, $5)
RETURNING created_at`

// newToken makes a secret for a key: 256 random bits.
func newToken(id string) (token string, hash []byte) {
	secret := randomHex(32)
	sum := sha256.Sum256([]byte(secret))
	return tokenPrefix + id + "_" + secret, sum[:]
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func namesOf(all []event.Namespace) []string {
	var names []string
	for _, ns := range all {
		names = append(names, ns.String())
	}
	return names
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

const rotateKeySQL = `
UPDATE culvert.api_keys
   SET old_hash = CASE WHEN $3::interval > '0' THEN hash END,
       old_until = CASE WHEN $3::interval > '0' THEN clock_timestamp() + $3 END,
       hash = $2
 WHERE id = $1 AND revoked_at IS NULL`

// RotateKey gives a key a new secret and returns its new token. The old token stays valid for grace; tokens from
// before that do not. Errors: ErrNotFound, also for a revoked key, and ErrUnavailable.
func (r *Registry) RotateKey(ctx context.Context, id string, grace time.Duration) (string, error) {
	token, hash := newToken(id)
	err := r.changeKey(ctx, "rotate key", rotateKeySQL, id, hash, max(grace, 0))
	if err != nil {
		return "", err
	}
	return token, nil
}

const revokeKeySQL = `
UPDATE culvert.api_keys
   SET revoked_at = coalesce(revoked_at, clock_timestamp()), old_hash = NULL, old_until = NULL
 WHERE id = $1`

// RevokeKey revokes a key: within a second every instance refuses it. Errors: ErrNotFound, ErrUnavailable.
func (r *Registry) RevokeKey(ctx context.Context, id string) error {
	return r.changeKey(ctx, "revoke key", revokeKeySQL, id)
}

func (r *Registry) changeKey(ctx context.Context, what, sql string, args ...any) error {
	return r.change(ctx, what, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sql, args...)
		if err == nil && tag.RowsAffected() == 0 {
			return event.ErrNotFound
		}
		return postgres.Unavailable(ctx, what, err)
	})
}

// Keys lists the stored keys, revoked ones too, the oldest first.
func (r *Registry) Keys(ctx context.Context) ([]APIKey, error) {
	stored, err := readKeys(ctx, r.o.DB)
	if err != nil {
		return nil, postgres.Unavailable(ctx, "API keys", err)
	}
	keys := make([]APIKey, 0, len(stored))
	for _, k := range stored {
		keys = append(keys, k.APIKey)
	}
	return keys, nil
}
