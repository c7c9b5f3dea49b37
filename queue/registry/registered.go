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

// registered is the registry as this instance knows it. It is replaced, never changed.
type registered struct {
	version    int64
	generation int64 // of the log; see package lineage
	byName     map[string]space
	gone       map[int32]struct{} // namespaces that were deleted
	keys       map[string]storedKey
	revoked    map[named]time.Time
	replaced   chan struct{} // closed when a newer one has replaced it
}

// named identifies a client by names, because revocations outlive the namespace and its id.
type named struct {
	ns     event.Namespace
	client event.Client
}

// space is a namespace that has settings or a floor.
type space struct {
	id       int32
	floor    event.Offset // events up to it are gone
	settings NamespaceSettings
}

var spacesSQL = `
SELECT n.id, coalesce(n.name, ''), n.floor, ` + settingColumns + `
  FROM culvert.namespaces n
 WHERE n.name IS NULL OR n.floor > n.born
    OR num_nonnulls(` + everySetting(func(column string, _ any) string { return column }) + `) > 0`

// loadSpaces reads the namespaces that have settings or a floor, and those that were deleted.
func (g *registered) loadSpaces(ctx context.Context, db *pgxpool.Pool) error {
	rows, err := db.Query(ctx, spacesSQL)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var s space
		var name string
		if err := rows.Scan(append([]any{&s.id, &name, &s.floor}, s.settings.fields()...)...); err != nil {
			return err
		}
		if name == "" {
			g.gone[s.id] = struct{}{}
			continue
		}
		g.byName[name] = s
	}
	return rows.Err()
}

const revocationsSQL = `
SELECT r.namespace, r.client, r.at
  FROM culvert.revoked_clients r`

func loadRevocations(ctx context.Context, db *pgxpool.Pool) (map[named]time.Time, error) {
	rows, err := db.Query(ctx, revocationsSQL)
	if err != nil {
		return nil, err
	}
	revoked := map[named]time.Time{}
	var ns, client trusted.Text
	var at pgtype.Timestamptz
	_, err = pgx.ForEachRow(rows, []any{&ns, &client, &at}, func() error {
		revoked[named{event.StoredNamespace(ns), event.StoredClient(client)}] = moment(at)
		return nil
	})
	return revoked, err
}
