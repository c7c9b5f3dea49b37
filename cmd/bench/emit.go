package bench

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/culvertmq/culvert/event"
)

const oneEvent = `{"room":"lobby","event":"chat message","data":{"text":"hello from the other side","n":12345}}`

// newPost makes a POST request with a JSON body and the bench's key.
func newPost(ctx context.Context, url, body string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header["Content-Type"] = []string{"application/json"}
	req.Header["Authorization"] = []string{"Bearer " + apiKey}
	return req, nil
}

// emits measures single emits over HTTP.
func (b *bench) emits(ctx context.Context) (err error) {
	r, err := newRig(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	in, err := r.instance(ctx)
	if err != nil {
		return err
	}
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

// answerOnly is the ceiling: it reads the body and answers like an emit.
func answerOnly(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, `{"offset":4711,"cursor":"k3f9:4711"}`)
}

// batches measures emits of 100 events in each request.
func (b *bench) batches(ctx context.Context) (err error) {
	r, err := newRig(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	in, err := r.instance(ctx)
	if err != nil {
		return err
	}
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

func benchEmit(room string) (e event.Emit, err error) {
	var parts [4]error
	e.Namespace, parts[0] = event.ParseNamespace("default")
	var r event.Room
	r, parts[1] = event.ParseRoom(room)
	e.Rooms = []event.Room{r}
	e.Event, parts[2] = event.ParseEventName("chat message")
	e.Data, parts[3] = event.ParseData([]byte(`{"text":"hello from the other side","n":12345}`))
	return e, errors.Join(parts[:]...)
}
