package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// maxRepeats bounds how often one statement is run again.
const maxRepeats = 5

// Repeat runs a statement that is a transaction of its own, and runs it again when Postgres rolled it back in
// favor of another one, so that nothing of it is stored. Culvert's own statements cannot deadlock, because they
// lock in one order (see append.sql); statements of an operator or a tool may not keep to it.
func Repeat(ctx context.Context, statement func() error) (err error) {
	for range maxRepeats {
		if err = statement(); !gaveWay(err) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// gaveWay reports whether a transaction was rolled back in favor of another one.
func gaveWay(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40P01" || pg.Code == "40001") // deadlock, serialization
}
