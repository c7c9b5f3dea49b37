package stress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/handlers"
)

const (
	// beWorker makes the test binary an application whose handler writes to a file what it
	// did; the variable holds the DSN.
	beWorker   = "STRESS_BE_WORKER"
	workerFile = "STRESS_WORKER_FILE"
)

// work is that application. The record of what it did must not be lost with the database, so it is in
// a file.
func work(ctx context.Context, dsn string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	file, err := os.OpenFile(os.Getenv(workerFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	fail(err)
	ns, err := event.ParseNamespace("default")
	fail(err)
	var q *queue.Queue
	for deadline := time.Now().Add(time.Minute); q == nil; rest(ctx, 100*time.Millisecond) {
		if q, err = queue.Open(ctx, queue.Options{DatabaseURL: dsn}); err != nil && time.Now().After(deadline) {
			fail(err)
		}
	}
	fail(q.Handle(ns, "work", func(ctx context.Context, e *event.Event) (any, error) {
		rest(ctx, time.Duration(rand.IntN(20))*time.Millisecond) // time to be killed
		if rand.IntN(10) == 0 {
			return nil, errors.New("bad luck")
		}
		line, err := json.Marshal(map[string]any{"offset": e.Offset, "data": json.RawMessage(e.Data)})
		if err == nil {
			_, err = file.Write(append(line, '\n'))
		}
		return nil, err
	}, handlers.Lease(time.Second), handlers.Backoff(10*time.Millisecond, 100*time.Millisecond), handlers.Tries(1000)))
	fmt.Fprintln(os.Stderr, "ready http://nowhere")
	<-ctx.Done()
	fail(q.Close(context.WithoutCancel(ctx)))
	fail(file.Close())
}
