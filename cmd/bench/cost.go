package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// cost measures the memory of an idle stream and the CPU time of deliveries.
func (b *bench) cost(ctx context.Context, r *rig, all []instance) error {
	if runtime.GOOS != "linux" {
		fmt.Fprintln(b.stderr, "culvert: cost is only measured on Linux, since it needs /proc")
		b.rows = append(b.rows, row{what: "memory and CPU of streams", measured: "not on " + runtime.GOOS})
		return nil
	}
	bare, server, err := r.children(ctx)
	if err != nil {
		return err
	}
	clientURL := func(i int) string { return server.url + "/v1/default/events?client=c" + strconv.Itoa(i) }
	bareURL := func(int) string { return bare.url }
	var memory, busy [2]float64
	if memory[0], err = bare.idle(ctx, bareURL); err == nil {
		memory[1], err = server.idle(ctx, clientURL)
	}
	if err != nil {
		return err
	}
	b.rows = append(b.rows, row{
		"memory of an idle SSE stream", kibibytes(memory[1]), kibibytes(memory[0]), fmt.Sprintf("%.2f x", memory[1]/memory[0]), "8 KiB",
	})
	post := newPoster(server.url+"/v1/default/emit", oneEvent, 2)
	defer post.close()
	emit := func(ctx context.Context, _ int) error { return post.post(ctx) }
	send := newPoster(bare.url, oneEvent, 2)
	defer send.close()
	if busy[0], err = bare.deliver(ctx, bareURL, func(ctx context.Context, _ int) error { return send.post(ctx) }); err == nil {
		busy[1], err = server.deliver(ctx, func(int) string { return server.url + "/v1/default/events?rooms=lobby" }, emit)
	}
	if err != nil {
		return err
	}
	b.rows = append(b.rows, row{
		"server CPU of 100,000 SSE deliveries", fmt.Sprintf("%.2f s", busy[1]), fmt.Sprintf("%.2f s", busy[0]),
		fmt.Sprintf("%.2f x", busy[1]/busy[0]), "1.15 x",
	})
	return nil
}

// idleCount is how many streams the memory of an idle one is measured with. There are enough that the memory which
// opening them leaves behind does not matter.
const idleCount = 4000

// idle returns how much memory one more idle stream takes.
func (c *childServer) idle(ctx context.Context, url func(i int) string) (float64, error) {
	open := func(n, from int) ([]*eventStream, float64, error) {
		streams, err := openStreams(ctx, n, func(i int) string { return url(from + i) })
		if err != nil {
			return streams, 0, err
		}
		select {
		case <-time.After(5 * time.Second): // until garbage of opening the streams is collected
		case <-ctx.Done():
		}
		memory, err := c.memory()
		return streams, memory, err
	}
	first, few, err := open(streamCount, 0)
	defer closeAll(first)
	if err != nil {
		return 0, err
	}
	second, many, err := open(idleCount, streamCount)
	defer closeAll(second)
	return (many - few) / idleCount, err
}

// deliver returns the seconds of CPU that 100,000 deliveries take.
func (c *childServer) deliver(ctx context.Context, url func(i int) string, emit func(context.Context, int) error) (float64, error) {
	f := fan{streams: streamCount, events: 600, to: streamCount, ahead: 1} // one event at a time: frames that share a write would cost less
	var before time.Duration
	var begun sync.Once // starts the CPU measurement at the first emit, without the opening of streams
	if _, err := f.deliver(ctx, url, func(ctx context.Context, i int) (err error) {
		begun.Do(func() { before, err = c.cpu() })
		return errors.Join(err, emit(ctx, i))
	}); err != nil {
		return 0, err
	}
	after, err := c.cpu()
	return (after - before).Seconds() * 100_000 / float64(f.events*f.to), err
}
