package queue_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

// An event from SQL makes its namespace when it is moved, under the append lock. That is an index look-up: when
// it scanned all namespaces each time, a transaction with a thousand of them stopped all emits for seconds.
func TestMakingANamespaceWalksOverNoOthers(t *testing.T) {
	dsn := pgtest.Database(t)
	sql(t, dsn, `SELECT culvert.open('1 hour')`,
		`INSERT INTO culvert.namespaces (name) SELECT 'space-' || i FROM generate_series(1, 5000) i`,
		`ANALYZE culvert.namespaces`,
		`SELECT culvert.emit(namespace => 'new-' || i, room => 'r', event => 'e') FROM generate_series(1, 200) i`)
	tx := must[pgx.Tx](t)(connect(t, dsn).Begin(t.Context()))
	if _, err := tx.Exec(t.Context(), appendNone); err != nil {
		t.Fatal(err)
	}
	var read, made int64
	err := tx.QueryRow(t.Context(), `
		SELECT (SELECT sum(pg_stat_get_xact_tuples_returned(i.indexrelid)) FROM pg_index i WHERE i.indrelid = 'culvert.namespaces'::regclass)
		     + pg_stat_get_xact_tuples_returned('culvert.namespaces'::regclass),
		       (SELECT count(*) FROM culvert.namespaces WHERE name LIKE 'new-%')`).Scan(&read, &made)
	if err != nil || made != 200 {
		t.Fatalf("%d namespaces were made, %v", made, err)
	}
	if read > 50_000 {
		t.Errorf("%d entries of namespaces were read to make 200", read)
	}
}
