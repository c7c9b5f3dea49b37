// Command handler runs a function for each placed order: also for orders that were emitted while the program did
// not run, again when it fails, and on only one instance. README.md says how to run it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"sync/atomic"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/handlers"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Getenv("DATABASE_URL")); err != nil {
		log.Fatal(err)
	}
}

var shop = event.MustNamespace("shop")

func run(ctx context.Context, databaseURL string) (err error) {
	if err := migrations.Up(ctx, databaseURL); err != nil {
		return err
	}
	q, err := queue.Open(ctx, queue.Options{DatabaseURL: databaseURL})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close(ctx)) }() // waits for handlers that run

	// The name makes the handler durable: a process that registers "receipts" continues where the last
	// one stopped, and several processes share the work.
	err = q.Handle(shop, "order.placed", sendReceipt,
		handlers.Named("receipts"), handlers.Tries(5), handlers.Backoff(100*time.Millisecond, time.Minute))
	if err != nil {
		return err
	}

	// The order may be emitted by this process, a client over HTTP, or a transaction. If it asks for a reply, the
	// emitter gets the result.
	stored, err := q.Append(ctx, []event.Emit{{
		Namespace: shop, Rooms: []event.Room{event.MustRoom("orders")},
		Event: event.MustEventName("order.placed"), Data: event.MustData(`{"id":7}`),
		Reply: event.Ask{Timeout: time.Minute, Count: 1},
	}})
	if err != nil {
		return err
	}
	answer, err := q.Await(ctx, shop, stored[0].Cursor.Offset)
	if err != nil {
		return err
	}
	for _, a := range answer.Answers {
		fmt.Println("answer:", a.Data.JSON())
	}
	return nil
}

var mailServer atomic.Int64 // the mail server is down the first time

// sendReceipt may run more than once for one order and must allow for that: a real one would store in the
// database which receipts it has sent.
func sendReceipt(_ context.Context, e *event.Event) (reply any, err error) {
	var order struct{ ID int }
	if err := json.Unmarshal([]byte(e.Data), &order); err != nil {
		return nil, err
	}
	if mailServer.Add(1) == 1 {
		fmt.Printf("order %d: the mail server is down\n", order.ID)
		return nil, errors.New("the mail server is down") // Culvert runs the function again, and parks the event after 5 tries
	}
	fmt.Printf("order %d: the receipt is sent\n", order.ID)
	return map[string]any{"receipt": order.ID}, nil
}
