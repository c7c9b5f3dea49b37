package queue_test

import (
	stdsql "database/sql"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// An application emits in its own transaction, by pgx or by database/sql: all of it is delivered in its
// order after COMMIT, and nothing after ROLLBACK.
func TestEmitInATransaction(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	db := must[*stdsql.DB](t)(stdsql.Open("pgx", dsn))
	t.Cleanup(func() { _ = db.Close() })
	conn := connect(t, dsn)
	type transaction struct {
		emit             func(...event.Emit) ([]bool, error)
		commit, rollback func() error
	}
	for name, begin := range map[string]func() transaction{
		"pgx": func() transaction {
			tx := must[pgx.Tx](t)(conn.Begin(t.Context()))
			return transaction{
				emit:   func(e ...event.Emit) ([]bool, error) { return queue.EmitTx(t.Context(), tx, e...) },
				commit: func() error { return tx.Commit(t.Context()) }, rollback: func() error { return tx.Rollback(t.Context()) },
			}
		},
		"database/sql": func() transaction {
			tx := must[*stdsql.Tx](t)(db.BeginTx(t.Context(), nil))
			return transaction{
				emit:   func(e ...event.Emit) ([]bool, error) { return queue.EmitSQLTx(t.Context(), tx, e...) },
				commit: tx.Commit, rollback: tx.Rollback,
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			keyed := emit("tx "+name, `{"n": 1.50}`)
			keyed.Key = mustParse(event.ParseKey, "key of "+name)
			keyed.From = client("alice")
			keyed.Except = []event.Room{room(`a "quoted\ room`)}
			s := subscribe(t, q, queue.Interest{Rooms: keyed.Rooms})

			gone := begin()
			must[[]bool](t)(gone.emit(emit("tx "+name, `"rolled back"`)))
			if err := gone.rollback(); err != nil {
				t.Fatal(err)
			}
			tx := begin()
			staged := must[[]bool](t)(tx.emit(keyed, keyed, emit("tx "+name, `2`)))
			if !slices.Equal(staged, []bool{true, false, true}) {
				t.Errorf("staged: %v", staged)
			}
			if err := tx.commit(); err != nil {
				t.Fatal(err)
			}
			b := must[event.Batch](t)(s.Next(t.Context(), 10))
			for len(b.Events) < 2 {
				b.Events = append(b.Events, must[event.Batch](t)(s.Next(t.Context(), 10)).Events...)
			}
			first := b.Events[0]
			if first.Data != `{"n": 1.50}` || first.From != client("alice") || len(first.Except) != 1 || first.Except[0] != keyed.Except[0] || b.Events[1].Data != "2" {
				t.Errorf("the reader received %+v and %q", first, b.Events[1].Data)
			}

			other := keyed
			other.Data = mustParse(func(s string) (event.Data, error) { return event.ParseData([]byte(s)) }, `{"n":3}`)
			again := begin()
			if _, err := again.emit(other); !errors.Is(err, event.ErrKeyReused) {
				t.Errorf("the key with another body: %v", err)
			}
			_ = again.rollback()
		})
	}
}

// What culvert.emit has no parameter for is refused before anything is sent, and the transaction continues.
func TestEmitInATransactionRefuses(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	tx := must[pgx.Tx](t)(connect(t, dsn).Begin(t.Context()))
	binary, asking, owned, nowhere := emit("r", "1"), emit("r", "1"), emit("r", "1"), emit("r", "1")
	binary.Data = mustParse(event.ParseBinary, "AAEC")
	asking.Reply = event.Ask{Timeout: time.Second}
	owned.KeyOwner, owned.Key = client("alice"), mustParse(event.ParseKey, "k")
	nowhere.Namespace = event.Namespace{}
	for field, e := range map[string]event.Emit{"binary": binary, "reply": asking, "key": owned, "namespace": nowhere} {
		var bad *event.InvalidError
		if _, err := queue.EmitTx(t.Context(), tx, emit("r", "1"), e); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	must[[]bool](t)(queue.EmitTx(t.Context(), tx, emit("r", `"good"`)))
	if _, err := queue.EmitTx(t.Context(), tx); err != nil {
		t.Errorf("nothing: %v", err)
	}
	s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}})
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := next(t, s, 1); got[0] != `"good"` {
		t.Errorf("the reader received %v", got)
	}
}
