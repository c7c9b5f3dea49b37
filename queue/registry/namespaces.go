package registry

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/internal/trusted"
)

// NamespaceState is a namespace as it is stored.
type NamespaceState struct {
	Namespace event.Namespace
	CreatedAt time.Time
	Settings  NamespaceSettings
}

// Settings returns the settings of a namespace as this instance knows them. All are zero if it has none or does
// not exist. It never blocks.
func (r *Registry) Settings(ns event.Namespace) NamespaceSettings {
	s := r.now.Load().byName[ns.String()].settings
	s.Public, s.Presence = slices.Clone(s.Public), slices.Clone(s.Presence) // the registry's own must not be changed
	return s
}

// Visible returns the position after which events of a namespace may be shown: floor or higher. deleted: the
// namespace with this id was deleted. It never blocks.
func (r *Registry) Visible(ns event.Namespace, id int32, floor event.Offset) (from event.Offset, deleted bool) {
	now := r.now.Load()
	_, deleted = now.gone[id]
	if s, ok := now.byName[ns.String()]; ok && s.id == id {
		floor = max(s.floor, floor)
	}
	return floor, deleted
}

var namespacesSQL = `
SELECT n.name, n.created_at, ` + settingColumns + `
  FROM culvert.namespaces n
 WHERE n.name IS NOT NULL AND ($1::text IS NULL OR n.name = $1)
 ORDER BY n.name`

// Namespaces lists all namespaces by name.
func (r *Registry) Namespaces(ctx context.Context) ([]NamespaceState, error) {
	return r.readNamespaces(ctx, nil)
}

// Namespace reads one namespace. Errors: ErrNotFound, ErrUnavailable.
func (r *Registry) Namespace(ctx context.Context, ns event.Namespace) (NamespaceState, error) {
	all, err := r.readNamespaces(ctx, new(ns.String()))
	if err == nil && len(all) == 0 {
		err = event.ErrNotFound
	}
	if err != nil {
		return NamespaceState{}, err
	}
	return all[0], nil
}

var namespacesAfterSQL = `
SELECT n.name, n.created_at, ` + settingColumns + `
  FROM culvert.namespaces n
 WHERE n.name COLLATE "C" > $1 AND ($2::text[] IS NULL OR n.name = ANY ($2))
 ORDER BY n.name COLLATE "C"
 LIMIT $3`

// NamespacesAfter lists up to limit namespaces in the order of their names' bytes, beginning after the
// namespace after, or with the first if that is zero. If only has namespaces, no others are listed.
func (r *Registry) NamespacesAfter(ctx context.Context, after event.Namespace, only []event.Namespace, limit int) ([]NamespaceState, error) {
	var names []string // nil: all
	for _, ns := range only {
		names = append(names, ns.String())
	}
	rows, err := r.o.DB.Query(ctx, namespacesAfterSQL, after.String(), names, limit)
	return collectNamespaces(ctx, rows, err)
}

func (r *Registry) readNamespaces(ctx context.Context, name *string) ([]NamespaceState, error) {
	rows, err := r.o.DB.Query(ctx, namespacesSQL, name)
	return collectNamespaces(ctx, rows, err)
}

func collectNamespaces(ctx context.Context, rows pgx.Rows, err error) ([]NamespaceState, error) {
	if err != nil {
		return nil, postgres.Unavailable(ctx, "namespaces", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s NamespaceState, err error) {
		var name trusted.Text
		var created pgtype.Timestamptz
		err = row.Scan(append([]any{&name, &created}, s.Settings.fields()...)...)
		s.Namespace, s.CreatedAt = event.StoredNamespace(name), moment(created)
		return s, err
	})
	return all, postgres.Unavailable(ctx, "namespaces", err)
}

// PutNamespace makes the namespace if it does not exist, and replaces all its settings. made: it did not exist.
// Errors: *InvalidError, ErrUnavailable.
func (r *Registry) PutNamespace(ctx context.Context, ns event.Namespace, s NamespaceSettings) (made bool, err error) {
	err = r.change(ctx, "put namespace", func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT culvert.make_namespace($1)`, ns.String()).Scan(&made); err != nil {
			return postgres.Unavailable(ctx, "put namespace", err)
		}
		return s.store(ctx, tx, ns)
	})
	return made, err
}

var lockNamespaceSQL = `
SELECT n.created_at, ` + settingColumns + `
  FROM culvert.namespaces n
 WHERE n.name = $1
   FOR NO KEY UPDATE`

// SetNamespace changes settings of a namespace. edit gets the present settings, which nobody else can change
// meanwhile. It returns the namespace with the new settings. Errors: ErrNotFound, *InvalidError,
// ErrUnavailable, and edit's own.
func (r *Registry) SetNamespace(ctx context.Context, ns event.Namespace, edit func(*NamespaceSettings) error) (NamespaceState, error) {
	state := NamespaceState{Namespace: ns}
	err := r.change(ctx, "set namespace", func(tx pgx.Tx) error {
		var created pgtype.Timestamptz
		err := tx.QueryRow(ctx, lockNamespaceSQL, ns.String()).Scan(append([]any{&created}, state.Settings.fields()...)...)
		state.CreatedAt = moment(created)
		if errors.Is(err, pgx.ErrNoRows) {
			return event.ErrNotFound
		}
		if err != nil {
			return postgres.Unavailable(ctx, "set namespace", err)
		}
		if err := edit(&state.Settings); err != nil {
			return err
		}
		return state.Settings.store(ctx, tx, ns)
	})
	return state, err
}

// DeleteNamespace deletes a namespace for good. When it returns, its rooms, clients, memberships, keys and
// events cannot be reached any more here, and within a second on the other instances; open subscriptions end
// with ErrDeleted. A new namespace of the same name begins empty. Errors: ErrNotFound, ErrUnavailable.
func (r *Registry) DeleteNamespace(ctx context.Context, ns event.Namespace) error {
	var found bool
	if err := r.o.Changes.QueryRow(ctx, `SELECT culvert.delete_namespace($1)`, ns.String()).Scan(&found); err != nil {
		return postgres.Unavailable(ctx, "delete namespace", err)
	}
	if !found {
		return event.ErrNotFound
	}
	r.changed(ctx)
	// The namespace is deleted even if this fails: retention sweeps, too.
	_ = r.Sweep(ctx)
	return nil
}

// Sweep deletes what deleted namespaces left behind, a little at a time.
func (r *Registry) Sweep(ctx context.Context) error {
	const atOnce = 10_000
	for {
		var more bool
		err := r.o.Changes.QueryRow(ctx, `SELECT culvert.sweep_namespaces($1)`, atOnce).Scan(&more)
		if err != nil || !more {
			return postgres.Unavailable(ctx, "sweep", err)
		}
	}
}
