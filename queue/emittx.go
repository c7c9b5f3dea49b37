package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
)

// EmitTx emits inside the application's own transaction, on a connection to Culvert's database whose role may
// call culvert.emit. The events are delivered, in their order, once tx has committed, and never if it is rolled
// back. staged says of each emit whether it was staged: false means that its Key was used before for the same
// content.
//
// It needs no Queue. It takes one round trip to Postgres and waits for no locks of others. Keys are of the
// class that backends share. Binary data, Reply and KeyOwner are refused, because culvert.emit has no
// parameters for them. Quota and Lists are ignored.
//
// Errors: an *InvalidError, before anything is sent; ErrKeyReused and those of Postgres, after which
// tx can only be rolled back.
func EmitTx(ctx context.Context, tx pgx.Tx, emits ...event.Emit) (staged []bool, err error) {
	if err := checkForSQL(emits); err != nil {
		return nil, err
	}
	staged = make([]bool, len(emits))
	var b pgx.Batch
	for i := range emits {
		b.Queue(emitSQL, sqlArguments(&emits[i])...).QueryRow(func(row pgx.Row) error { return row.Scan(&staged[i]) })
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return nil, emitFailed(err)
	}
	return staged, nil
}

// EmitSQLTx is EmitTx for database/sql, with any driver for Postgres. It takes a round trip for each emit. The
// error for a key that was used for other content is ErrKeyReused only with pgx's driver.
func EmitSQLTx(ctx context.Context, tx *sql.Tx, emits ...event.Emit) (staged []bool, err error) {
	if err := checkForSQL(emits); err != nil {
		return nil, err
	}
	staged = make([]bool, len(emits))
	for i := range emits {
		if err := tx.QueryRowContext(ctx, emitSQL, sqlArguments(&emits[i])...).Scan(&staged[i]); err != nil {
			return nil, emitFailed(err)
		}
	}
	return staged, nil
}

const emitSQL = `
SELECT culvert.emit(namespace => $1::text, rooms => $2::text::text[], event => $3::text, data => $4::text::jsonb,
                    key => NULLIF($5::text, ''), except_rooms => NULLIF($6::text, '')::text[], sender => NULLIF($7::text, ''))`

func sqlArguments(e *event.Emit) []any {
	return []any{e.Namespace.String(), postgres.RoomArray(e.Addressed()), e.Event.String(), e.Data.JSON(), e.Key.String(), postgres.RoomArray(e.Except), e.From.String()}
}

// checkForSQL refuses what culvert.emit has no parameter for.
func checkForSQL(emits []event.Emit) error {
	for i := range emits {
		e := &emits[i]
		switch {
		case e.Data.Binary():
			return event.Invalid("binary", "cannot be emitted from SQL: emit it as JSON, such as base64 in a string")
		case e.Reply != event.Ask{}:
			return event.Invalid("reply", "cannot be requested by an emit from SQL: use Append")
		case e.KeyOwner != event.Client{}:
			return event.Invalid("key", "cannot belong to a client in an emit from SQL: leave KeyOwner empty")
		}
		if err := e.Check(); err != nil {
			return err
		}
	}
	return nil
}

// emitFailed wraps the error of a call of culvert.emit.
func emitFailed(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "23505" { // unique_violation
		return fmt.Errorf("emit: %w", errors.Join(event.ErrKeyReused, err))
	}
	return fmt.Errorf("emit: %w", err)
}
