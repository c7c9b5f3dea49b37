package bench

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/culvertmq/culvert/event"
)

// emits measures single emits over HTTP.
func (b *bench) emits(ctx context.Context, r *rig, all []instance) error {
	in := all[0]
	nothing, err := r.serve(http.HandlerFunc(answerOnly), nil)
	if err != nil {
		return err
	}
	var rates [2]float64
	for i, url := range []string{nothing, in.url + "/v1/default/emit"} {
		p := newPoster(url, oneEvent, b.callers)
		rates[i], err = rate(ctx, b.callers, b.duration, func(ctx context.Context) (int, error) { return 1, p.post(ctx) })
		p.close()
		if err != nil {
			return err
		}
	}
	b.compare("durable emits over HTTP, one event a request", rates[1], rates[0], "60 %")
	return nil
}

// batches measures emits of 100 events in each request.
func (b *bench) batches(ctx context.Context, r *rig, all []instance) error {
	in := all[0]
	const size = 100
	emit, err := benchEmit("lobby")
	if err != nil {
		return err
	}
	body := `{"events":[` + strings.Repeat(oneEvent+",", size-1) + oneEvent + `]}`
	p := newPoster(in.url+"/v1/default/emit", body, b.callers)
	defer p.close()
	overHTTP, err := rate(ctx, b.callers, b.duration, func(ctx context.Context) (int, error) {
		return size, p.post(ctx)
	})
	if err != nil {
		return err
	}
	// This runs after the measurement over HTTP, whose last emits may still fill the queue: Append then tries again.
	direct, err := rate(ctx, b.callers, b.duration, func(ctx context.Context) (int, error) {
		emits := make([]event.Emit, size)
		for i := range emits {
			emits[i] = emit
		}
		return whenRoom(in.queue.Append(ctx, emits))
	})
	if err != nil {
		return err
	}
	b.compare("durable emits over HTTP, 100 events a request", overHTTP, direct, "70 %")
	return nil
}

// whenRoom counts the stored events. If the queue is full, it counts none, and returns no error.
func whenRoom(results []event.Result, err error) (int, error) {
	if errors.Is(err, event.ErrOverloaded) {
		return 0, nil
	}
	return len(results), err
}
