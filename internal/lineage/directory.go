package lineage

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
)

// Directory remembers the numeric ids of namespaces and rooms. They are valid in one generation of the log;
// when a namespace is deleted, or the log loses its end, another generation begins. Ids of an earlier one never
// get into the log, see culvert.append.
type Directory struct {
	db *pgxpool.Pool

	mu         sync.Mutex
	generation int64
	namespaces map[event.Namespace]NamespaceRef
	rooms      map[RoomRef]int64
}

// NamespaceRef is a namespace's id and floor when it was looked up, and the generation in which they are valid.
type NamespaceRef struct {
	ID         int32
	Floor      event.Offset
	Generation int64
}

// RoomRef identifies a room by its name and its namespace's id.
type RoomRef struct {
	Namespace int32
	Room      string
}

// MostRemembered bounds how many ids the directory remembers; then it forgets all and starts again.
const MostRemembered = 200_000

func newDirectory(db *pgxpool.Pool) *Directory {
	return &Directory{db: db, namespaces: map[event.Namespace]NamespaceRef{}, rooms: map[RoomRef]int64{}}
}

// renew forgets everything unless it is of this generation.
func (d *Directory) renew(generation int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.generation != generation {
		d.generation = generation
		clear(d.namespaces)
		clear(d.rooms)
	}
}

// current returns the generation of what is looked up from now on.
func (d *Directory) current() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.generation
}

// Forget makes the directory look up a namespace again, if it remembers this id.
func (d *Directory) Forget(ns event.Namespace, id int32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.namespaces[ns].ID == id {
		delete(d.namespaces, ns)
	}
}

// Both statements check that the generation of the remembered ids is the present one: see culvert.check_ids.
const makeNamespaceSQL = `
SELECT culvert.make_namespace($1)
 WHERE culvert.check_ids($2)`

const findNamespaceSQL = `
SELECT id, floor
  FROM culvert.namespaces
 WHERE name = $1 AND culvert.check_ids($2)`

// Namespace returns the id of ns, creating it on first use. If postgres.IsOutdated is true of the error, the
// generation has changed.
func (d *Directory) Namespace(ctx context.Context, ns event.Namespace) (int32, error) {
	ref, err := d.Lookup(ctx, ns)
	return ref.ID, err
}

// Lookup is Namespace, and also returns the floor and the generation.
func (d *Directory) Lookup(ctx context.Context, ns event.Namespace) (NamespaceRef, error) {
	d.mu.Lock()
	ref, ok := d.namespaces[ns]
	generation := d.generation
	d.mu.Unlock()
	if ok {
		return ref, nil
	}
	ref.Generation = generation
	for { // again if it is deleted between the two statements
		if _, err := d.db.Exec(ctx, makeNamespaceSQL, ns.String(), generation); err != nil {
			return ref, postgres.Unavailable(ctx, "namespace", err)
		}
		err := d.db.QueryRow(ctx, findNamespaceSQL, ns.String(), generation).Scan(&ref.ID, &ref.Floor)
		if err == nil {
			break
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return ref, postgres.Unavailable(ctx, "namespace", err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.generation == generation {
		if len(d.namespaces) >= MostRemembered {
			clear(d.namespaces)
		}
		d.namespaces[ns] = ref
	}
	return ref, nil
}

const findAgainSQL = `
SELECT n.id, n.floor
  FROM culvert.namespaces n
 WHERE n.name = $1 AND NOT EXISTS (SELECT FROM culvert.namespaces d WHERE d.id = $2 AND d.name IS NULL AND d.born < $4)
   AND culvert.check_ids($3)`

// Again looks up a namespace whose id may be outdated. It never makes the namespace: if that was deleted, or is
// not in the database any more, the error is ErrDeleted. A namespace that was made after a restore, from the
// position `restored` on, may have got the same id; whether that one was deleted does not matter. Errors for
// postgres.IsOutdated are as for Namespace.
func (d *Directory) Again(ctx context.Context, ns event.Namespace, ref NamespaceRef, restored event.Offset) (NamespaceRef, error) {
	ref.Generation = d.current()
	err := d.db.QueryRow(ctx, findAgainSQL, ns.String(), ref.ID, ref.Generation, int64(restored)).Scan(&ref.ID, &ref.Floor)
	if errors.Is(err, pgx.ErrNoRows) {
		return ref, event.ErrDeleted
	}
	return ref, postgres.Unavailable(ctx, "namespace", err)
}

const makeRoomsSQL = `
INSERT INTO culvert.rooms (namespace_id, name)
SELECT w.ns, w.name
  FROM unnest($1::int[], $2::text[]) AS w (ns, name)
 WHERE culvert.check_ids($3) AND NOT EXISTS (SELECT FROM culvert.rooms r WHERE r.namespace_id = w.ns AND r.name = w.name)
 ORDER BY w.ns, w.name COLLATE "C"
ON CONFLICT DO NOTHING`

const findRoomsSQL = `
SELECT r.namespace_id, r.name, r.id
  FROM unnest($1::int[], $2::text[]) AS w (ns, name)
  JOIN culvert.rooms r ON r.namespace_id = w.ns AND r.name = w.name
 WHERE culvert.check_ids($3)`

// Resolve fills in the ids of all rooms wanted, creating the missing rooms. The ids of their namespaces must
// have been looked up in the given generation or later.
func (d *Directory) Resolve(ctx context.Context, generation int64, wanted map[RoomRef]int64) error {
	var missing []RoomRef
	d.mu.Lock()
	for ref := range wanted {
		if id, ok := d.rooms[ref]; ok {
			wanted[ref] = id
		} else {
			missing = append(missing, ref)
		}
	}
	d.mu.Unlock()
	if len(missing) == 0 {
		return nil
	}
	if err := d.load(ctx, generation, missing, wanted); err != nil {
		return postgres.Unavailable(ctx, "rooms", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.generation != generation {
		return nil
	}
	if len(d.rooms)+len(missing) > MostRemembered {
		clear(d.rooms)
	}
	for _, ref := range missing {
		d.rooms[ref] = wanted[ref]
	}
	return nil
}

// load asks for the rooms in an order that all instances share, so that two instances that create the same
// rooms wait for each other and do not deadlock.
func (d *Directory) load(ctx context.Context, generation int64, missing []RoomRef, into map[RoomRef]int64) error {
	slices.SortFunc(missing, func(a, b RoomRef) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Room, b.Room))
	})
	ns := make([]int32, len(missing))
	names := make([]string, len(missing))
	for i, ref := range missing {
		ns[i], names[i] = ref.Namespace, ref.Room
	}
	err := postgres.Repeat(ctx, func() error {
		_, err := d.db.Exec(ctx, makeRoomsSQL, ns, names, generation)
		return err
	})
	if err != nil {
		return err
	}
	rows, err := d.db.Query(ctx, findRoomsSQL, ns, names, generation)
	if err != nil {
		return err
	}
	var ref RoomRef
	var id int64
	_, err = pgx.ForEachRow(rows, []any{&ref.Namespace, &ref.Room, &id}, func() error {
		into[ref] = id
		return nil
	})
	return err
}

// Unknown returns the names of the rooms whose ids are not remembered.
func (d *Directory) Unknown(ns int32, rooms []event.Room) (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range rooms {
		if _, ok := d.rooms[RoomRef{ns, r.String()}]; !ok {
			names = append(names, r.String())
		}
	}
	return names
}
