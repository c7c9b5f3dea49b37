package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/culvertmq/culvert/api"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/handlers"
)

// An application that embeds Culvert on its own server and port, beside its own pages, with a handler that runs
// for events and replies to them.
func Example() {
	ctx := context.Background()
	dsn := pgtest.Server().DSN() // the application's Postgres
	if err := migrations.Up(ctx, dsn); err != nil {
		log.Fatal(err)
	}
	q, err := queue.Open(ctx, queue.Options{DatabaseURL: dsn})
	if err != nil {
		log.Fatal(err)
	}
	shop, err := event.ParseNamespace("shop")
	if err != nil {
		log.Fatal(err)
	}
	// Every order is handled, even if it is emitted while no instance runs. One instance at a time handles it,
	// again if it fails.
	err = q.Handle(shop, "order.*", func(_ context.Context, e *event.Event) (any, error) {
		var order struct{ ID int }
		if err := json.Unmarshal([]byte(e.Data), &order); err != nil {
			return nil, err
		}
		return map[string]any{"id": order.ID, "status": "accepted"}, nil
	}, handlers.Named("orders"))
	if err != nil {
		log.Fatal(err)
	}

	culvert, err := api.New(q, api.Options{APIKeys: []string{"the-key-of-the-shop"}})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", culvert)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "the shop") })
	server := httptest.NewUnstartedServer(mux)
	culvert.ConfigureServer(server.Config)
	server.Start()

	// A client emits an order and waits for the handler's reply.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/v1/shop/emit?client=alice&wait=20",
		strings.NewReader(`{"room": "orders", "event": "order.placed", "data": {"id": 7}, "reply": {}}`))
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer the-key-of-the-shop")
	req.Header.Set("Content-Type", "application/json")
	res, err := server.Client().Do(req)
	if err != nil {
		log.Fatal(err)
	}
	var answer struct {
		Replies  json.RawMessage
		Complete bool
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(answer.Replies), answer.Complete)

	// Shut down: no new streams, open ones end, running handlers finish.
	culvert.Drain()
	if err := culvert.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	server.Close()
	culvert.Close()
	if err := q.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: [{"from":null,"data":{"id":7,"status":"accepted"}}] true
}
