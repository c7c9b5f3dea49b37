package culvert_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"time"

	"github.com/culvertmq/culvert/api"
	culvert "github.com/culvertmq/culvert/clients/go"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
)

// A kitchen takes orders, one after the other, and answers each.
func Example() {
	ctx := context.Background()
	url, stop := server(ctx)
	defer stop()

	kitchen, err := culvert.Dial(ctx, url, culvert.Options{Token: "the-key-of-the-example", Client: "kitchen"})
	if err != nil {
		log.Fatal(err)
	}
	kitchen.On("order", func(_ context.Context, e *culvert.Event) (any, error) {
		var dish string
		if err := e.Decode(&dish); err != nil {
			return nil, err
		}
		return "one " + dish + " for " + e.From, nil
	})
	if _, err := kitchen.Join(ctx, "orders"); err != nil {
		log.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- kitchen.Listen(ctx) }()

	alice, err := culvert.Dial(ctx, url, culvert.Options{Token: "the-key-of-the-example", Client: "alice"})
	if err != nil {
		log.Fatal(err)
	}
	order := culvert.Message{Event: "order", Data: "soup", Rooms: []string{"orders"}}
	replies, err := alice.EmitWithReply(ctx, order, culvert.Ask{Count: 1, Timeout: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s says %s\n", replies[0].From, replies[0].Data)

	alice.Close()
	kitchen.Close()
	fmt.Println(<-done)
	// Output:
	// kitchen says "one soup for alice"
	// <nil>
}

// server is a Culvert for the example; yours runs somewhere else.
func server(ctx context.Context) (url string, stop func()) {
	dsn := pgtest.Server().DSN()
	if err := migrations.Up(ctx, dsn); err != nil {
		log.Fatal(err)
	}
	q, err := queue.Open(ctx, queue.Options{DatabaseURL: dsn})
	if err != nil {
		log.Fatal(err)
	}
	h, err := api.New(q, api.Options{APIKeys: []string{"the-key-of-the-example"}})
	if err != nil {
		log.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	h.ConfigureServer(s.Config)
	s.Start()
	return s.URL, func() {
		h.Drain()
		s.Close()
		h.Close()
		if err := q.Close(ctx); err != nil {
			log.Fatal(err)
		}
	}
}
