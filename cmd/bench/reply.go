package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// replies measures an emit that waits on one instance for the reply of a client that uses the other instance.
func (b *bench) replies(ctx context.Context, r *rig, all []instance) error {
	asks, answers := all[0], all[1]
	stream, err := openStream(ctx, answers.url+"/v1/default/events?client=bob")
	if err != nil {
		return err
	}
	defer stream.close()
	broken := make(chan error, 1)
	go func() { broken <- answer(ctx, stream, answers.url) }()

	p := newPoster(asks.url+"/v1/default/emit?wait=10",
		`{"room":"@bob","event":"question","data":1,"reply":{"timeout":10,"count":1}}`, 1)
	defer p.close()
	var took []time.Duration
	for end := time.Now().Add(b.duration); time.Now().Before(end); {
		sent := time.Now()
		if err := p.post(ctx); err != nil {
			return err
		}
		took = append(took, time.Since(sent))
		select {
		case err := <-broken:
			return err
		default:
		}
	}
	b.quantiles("emit with a reply of the other instance's client, there and back", took, "")
	return nil
}

// answer replies to every event of the stream that asks for it, until the stream ends.
func answer(ctx context.Context, stream *eventStream, url string) error {
	p := newPoster(url, "", 1)
	defer p.close()
	for {
		data, err := stream.next()
		if err != nil {
			return err
		}
		var e struct {
			Offset int64
			Reply  *struct{}
		}
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		if e.Reply == nil {
			continue
		}
		req, err := newPost(ctx, url+"/v1/default/reply?client=bob", fmt.Sprintf(`{"offset":%d,"data":2}`, e.Offset))
		if err != nil {
			return err
		}
		if err := p.do(req, http.StatusCreated); err != nil {
			return err
		}
	}
}
