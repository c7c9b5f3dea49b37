// Command transaction emits events inside transactions of the application, with pgx and with database/sql:
// committed events are delivered, events of a rolled-back transaction are not. README.md says how to run it.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Getenv("DATABASE_URL")); err != nil {
		log.Fatal(err)
	}
}

var (
	shop = event.MustNamespace("shop")
	room = event.MustRoom("orders")
)

func paid(order int) event.Emit {
	return event.Emit{
		Namespace: shop, Rooms: []event.Room{room},
		Event: event.MustEventName("paid"), Data: event.MustData(fmt.Sprintf(`{"order":%d}`, order)),
	}
}

func run(ctx context.Context, databaseURL string) (err error) {
	if err := migrations.Up(ctx, databaseURL); err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS paid (id int, at timestamptz DEFAULT now())`); err != nil {
		return err
	}

	// The subscriber of the room. It may be another process, because emitting needs no Queue.
	q, err := queue.Open(ctx, queue.Options{Pool: pool})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close(ctx)) }()
	follower, err := q.Subscribe(ctx, queue.Interest{Namespace: shop, Rooms: []event.Room{room}})
	if err != nil {
		return err
	}
	defer follower.Close()

	cancelled := errors.New("the customer changed their mind")
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	for _, err := range []error{
		payWithPgx(ctx, pool, 1, nil),
		payWithPgx(ctx, pool, 2, cancelled),
		payWithSQL(ctx, db, 3, cancelled),
		payWithSQL(ctx, db, 4, nil),
	} {
		if err != nil && !errors.Is(err, cancelled) {
			return err
		}
	}

	for delivered := 0; delivered < 2; {
		batch, err := follower.Next(ctx, 100)
		if err != nil {
			return err
		}
		for _, e := range batch.Events {
			fmt.Println("delivered:", e.Name, e.Data)
			delivered++
		}
	}
	return nil
}

// payWithPgx commits when the outcome is nil, and rolls back with any other.
func payWithPgx(ctx context.Context, pool *pgxpool.Pool, order int, outcome error) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO paid (id) VALUES ($1)`, order); err != nil {
			return err
		}
		if _, err := queue.EmitTx(ctx, tx, paid(order)); err != nil {
			return err
		}
		return outcome
	})
}

// payWithSQL is the same with database/sql.
func payWithSQL(ctx context.Context, db *sql.DB, order int, outcome error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // it does nothing after a commit
	if _, err := tx.ExecContext(ctx, `INSERT INTO paid (id) VALUES ($1)`, order); err != nil {
		return err
	}
	if _, err := queue.EmitSQLTx(ctx, tx, paid(order)); err != nil {
		return err
	}
	if outcome != nil {
		return outcome
	}
	return tx.Commit()
}
