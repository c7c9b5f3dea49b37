package bench

import (
	"context"
	"time"
)

// latency measures one emit at a time, from one instance to a stream of another one.
func (b *bench) latency(ctx context.Context, r *rig, all []instance) error {
	from, to := all[0], all[1]
	stream, err := openStream(ctx, to.url+"/v1/default/events?rooms=lobby")
	if err != nil {
		return err
	}
	defer stream.close()
	whole, committed, err := b.latencies(ctx, newPoster(from.url+"/v1/default/emit", oneEvent, 1), stream)
	if err != nil {
		return err
	}
	b.quantiles("emit sent to frame received, other instance", whole, "")
	b.quantiles("commit known to frame received, other instance", committed, "p99 10ms")
	return nil
}

// latencies emits every 5 ms for the duration, but waits until the previous event has arrived.
func (b *bench) latencies(ctx context.Context, p *poster, stream *eventStream) (whole, committed []time.Duration, err error) {
	defer p.close()
	arrived := make(chan time.Time, 1)
	broken := make(chan error, 1)
	go func() {
		for {
			if _, err := stream.next(); err != nil {
				broken <- err
				return
			}
			arrived <- time.Now()
		}
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(b.duration); time.Now().Before(end); {
		sent := time.Now()
		if err := p.post(ctx); err != nil {
			return nil, nil, err
		}
		known := time.Now()
		select {
		case at := <-arrived:
			whole = append(whole, at.Sub(sent))
			committed = append(committed, max(at.Sub(known), 0))
		case err := <-broken:
			return nil, nil, err
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
		<-tick.C
	}
	return whole, committed, nil
}
