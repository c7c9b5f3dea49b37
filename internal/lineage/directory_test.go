package lineage

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/internal/postgres"
)

// A connection may lead to another server than the one whose ids are remembered: ids of that server are not
// remembered among these.
func TestIdsOfAnotherServerAreNotRemembered(t *testing.T) {
	db, err := pgxpool.New(t.Context(), pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d := newDirectory(db)
	d.renew(1)
	ns := event.MustNamespace("default")
	if id, err := d.Namespace(t.Context(), ns); !postgres.IsOutdated(err) {
		t.Errorf("namespace %d, %v", id, err)
	}
	if ref, err := d.Again(t.Context(), ns, NamespaceRef{ID: 1}, event.MaxOffset); !postgres.IsOutdated(err) {
		t.Errorf("namespace %v, %v", ref, err)
	}
	if len(d.namespaces) > 0 {
		t.Errorf("%v is remembered", d.namespaces)
	}
}
