package queue

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// NamespaceState is a namespace as it is stored.
type NamespaceState struct {
	Namespace Namespace
	CreatedAt time.Time
	Settings  NamespaceSettings
}

// Settings are those of a namespace as this instance knows them; all zero for
// one that has none or is not there. It never blocks.
func (r *Registry) Settings(ns Namespace) NamespaceSettings {
	return r.now.Load().byName[ns.name].settings
}

// floor is the position up to which nothing of the namespace is to be seen.
func (g *registered) floor(ns Namespace, ref namespaceRef) Offset {
	if s, ok := g.byName[ns.name]; ok && s.id == ref.id {
		return max(s.floor, ref.floor)
	}
	return ref.floor
}

// settingColumns are the settings as NamespaceSettings has them. What somebody stored by hand
// must not keep all the others from being read: a NULL among patterns is none, and there is
// no time without an end.
const settingColumns = `
       least(coalesce(n.retention, '0'), '100 years'), least(coalesce(n.dedup, '0'), '100 years'),
       coalesce(array_remove(n.public, NULL), '{}'), coalesce(array_remove(n.presence, NULL), '{}'),
       coalesce(nullif(n.emit_rate, 'NaN'), 0), coalesce(nullif(n.client_rate, 'NaN'), 0),
       coalesce(n.max_connections_client, 0), coalesce(n.max_rooms_client, 0)`

// fields are where the columns go.
func (s *NamespaceSettings) fields() []any {
	return []any{
		&s.Retention, &s.Dedup, &s.Public, &s.Presence, &s.EmitRate, &s.ClientRate,
		&s.MaxConnectionsClient, &s.MaxRoomsClient,
	}
}

const spacesSQL = `
SELECT n.id, coalesce(n.name, ''), n.floor,` + settingColumns + `
  FROM culvert.namespaces n
 WHERE n.name IS NULL OR n.floor > n.born
    OR num_nonnulls(n.retention, n.dedup, n.public, n.presence, n.emit_rate, n.client_rate,
       n.max_connections_client, n.max_rooms_client) > 0`

// loadSpaces reads the namespaces that are not as they were made.
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

const namespacesSQL = `
SELECT n.name, n.created_at,` + settingColumns + `
  FROM culvert.namespaces n
 WHERE n.name IS NOT NULL AND ($1::text IS NULL OR n.name = $1)
 ORDER BY n.name`

// Namespaces lists all namespaces by name.
func (r *Registry) Namespaces(ctx context.Context) ([]NamespaceState, error) {
	return r.readNamespaces(ctx, nil)
}

// Namespace reads one namespace. Errors: ErrNotFound, ErrUnavailable.
func (r *Registry) Namespace(ctx context.Context, ns Namespace) (NamespaceState, error) {
	all, err := r.readNamespaces(ctx, &ns.name)
	if err == nil && len(all) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return NamespaceState{}, err
	}
	return all[0], nil
}

const namespacesAfterSQL = `
SELECT n.name, n.created_at,` + settingColumns + `
  FROM culvert.namespaces n
 WHERE n.name COLLATE "C" > $1 AND ($2::text[] IS NULL OR n.name = ANY ($2))
 ORDER BY n.name COLLATE "C"
 LIMIT $3`

// NamespacesAfter lists up to limit namespaces in the order of their names' bytes,
// beginning after one; the zero Namespace begins with the first. With only it lists
// no others than these.
func (r *Registry) NamespacesAfter(ctx context.Context, after Namespace, only []Namespace, limit int) ([]NamespaceState, error) {
	var names []string // nil: all
	for _, ns := range only {
		names = append(names, ns.name)
	}
	rows, err := r.db.Query(ctx, namespacesAfterSQL, after.name, names, limit)
	return collectNamespaces(ctx, rows, err)
}

func (r *Registry) readNamespaces(ctx context.Context, name *string) ([]NamespaceState, error) {
	rows, err := r.db.Query(ctx, namespacesSQL, name)
	return collectNamespaces(ctx, rows, err)
}

func collectNamespaces(ctx context.Context, rows pgx.Rows, err error) ([]NamespaceState, error) {
	if err != nil {
		return nil, unavailable(ctx, "namespaces", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s NamespaceState, err error) {
		var created pgtype.Timestamptz
		err = row.Scan(append([]any{&s.Namespace.name, &created}, s.Settings.fields()...)...)
		s.CreatedAt = moment(created)
		return s, err
	})
	return all, unavailable(ctx, "namespaces", err)
}

const storeSettingsSQL = `
UPDATE culvert.namespaces
   SET retention = nullif($2::interval, '0'), dedup = nullif($3::interval, '0'),
       public = nullif($4::text[], '{}'), presence = nullif($5::text[], '{}'),
       emit_rate = nullif($6::double precision, 0), client_rate = nullif($7::double precision, 0),
       max_connections_client = nullif($8::int, 0), max_rooms_client = nullif($9::int, 0)
 WHERE name = $1`

func (s *NamespaceSettings) store(ctx context.Context, tx pgx.Tx, ns Namespace) error {
	if err := s.Check(); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, storeSettingsSQL, ns.name, s.Retention, s.Dedup, notNil(s.Public), notNil(s.Presence),
		s.EmitRate, s.ClientRate, s.MaxConnectionsClient, s.MaxRoomsClient)
	return unavailable(ctx, "store settings", err)
}

func notNil(patterns []string) []string { return append([]string{}, patterns...) }

// PutNamespace makes the namespace if there is none and gives it these settings
// and no others. Errors: *InvalidError, ErrUnavailable.
func (r *Registry) PutNamespace(ctx context.Context, ns Namespace, s NamespaceSettings) (made bool, err error) {
	err = r.change(ctx, "put namespace", func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT culvert.make_namespace($1)`, ns.name).Scan(&made); err != nil {
			return unavailable(ctx, "put namespace", err)
		}
		return s.store(ctx, tx, ns)
	})
	return made, err
}

const lockNamespaceSQL = `
SELECT n.created_at,` + settingColumns + `
  FROM culvert.namespaces n
 WHERE n.name = $1
   FOR NO KEY UPDATE`

// SetNamespace changes settings of a namespace: edit gets them as they are and
// nobody else changes them meanwhile. It returns what is stored then. Errors:
// ErrNotFound, *InvalidError, ErrUnavailable, and edit's own.
func (r *Registry) SetNamespace(ctx context.Context, ns Namespace, edit func(*NamespaceSettings) error) (NamespaceState, error) {
	state := NamespaceState{Namespace: ns}
	err := r.change(ctx, "set namespace", func(tx pgx.Tx) error {
		var created pgtype.Timestamptz
		err := tx.QueryRow(ctx, lockNamespaceSQL, ns.name).Scan(append([]any{&created}, state.Settings.fields()...)...)
		state.CreatedAt = moment(created)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return unavailable(ctx, "set namespace", err)
		}
		if err := edit(&state.Settings); err != nil {
			return err
		}
		return state.Settings.store(ctx, tx, ns)
	})
	return state, err
}

// DeleteNamespace closes a namespace for good: its rooms, clients, memberships,
// keys and events are out of reach when it returns, here at once and on the other
// instances within a second, and open subscriptions end with ErrDeleted. A
// namespace of the same name is another one and begins empty. Errors:
// ErrNotFound, ErrUnavailable.
func (r *Registry) DeleteNamespace(ctx context.Context, ns Namespace) error {
	var found bool
	if err := r.changes.QueryRow(ctx, `SELECT culvert.delete_namespace($1)`, ns.name).Scan(&found); err != nil {
		return unavailable(ctx, "delete namespace", err)
	}
	if !found {
		return ErrNotFound
	}
	r.changed(ctx)
	// It is deleted, whatever becomes of the rest: retention sweeps, too.
	_ = r.sweep(ctx)
	return nil
}

// sweep takes away what deleted namespaces left behind, a little at a time.
func (r *Registry) sweep(ctx context.Context) error {
	const atOnce = 10_000
	for {
		var more bool
		err := r.changes.QueryRow(ctx, `SELECT culvert.sweep_namespaces($1)`, atOnce).Scan(&more)
		if err != nil || !more {
			return unavailable(ctx, "sweep", err)
		}
	}
}
