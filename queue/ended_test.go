package queue

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

// answered waits for an answer, which must be an error.
func answered(t *testing.T, what string, ticket *batch.Ticket) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	switch err := ticket.Wait(ctx); {
	case err == nil:
		t.Errorf("%s: confirmed, though nothing was stored", what)
	case errors.Is(err, ctx.Err()) && ctx.Err() != nil:
		t.Fatalf("%s: no answer", what)
	}
}

// Every acknowledgement that still waits when the work ends gets an answer.
func TestTheEndAnswersAcknowledgements(t *testing.T) {
	q, err := Open(t.Context(), Options{DatabaseURL: pgtest.Database(t), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := q.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	ended, end := context.WithCancel(t.Context())
	end()
	for range 20 { // run may take them once more or not, by chance
		a := newAcks(Options{QueueEvents: 10, QueueBytes: 1 << 20, AppendTimeout: time.Second, Logger: slog.New(slog.DiscardHandler)}, q.db, q.lineage, q.tail, q.metrics)
		p, err := a.add(clientKey{event.MustNamespace("default"), event.MustClient("bob")}, q.lineage.Load(), 0)
		if err != nil {
			t.Fatal(err)
		}
		a.run(ended)
		answered(t, "an acknowledgement", &p.Ticket)
	}
}
