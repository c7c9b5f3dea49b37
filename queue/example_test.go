package queue_test

import (
	"context"
	"log"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
)

// An order and the event about it are stored together, or neither is.
func ExampleEmitTx() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, "postgres://shop@localhost/shop")
	if err != nil {
		log.Fatal(err)
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE orders SET paid = true WHERE id = 7`); err != nil {
			return err
		}
		_, err := queue.EmitTx(ctx, tx, event.Emit{
			Namespace: event.MustNamespace("shop"),
			Rooms:     []event.Room{event.MustRoom("orders")},
			Event:     event.MustEventName("paid"),
			Data:      event.MustData(`{"id":7}`),
			Key:       event.MustKey("order-7-paid"),
		})
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
}
