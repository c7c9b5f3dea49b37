package bench

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"time"
)

// arrivals measures how long many clients take to connect, openers of them at a time, until each has an open
// stream.
func (b *bench) arrivals(ctx context.Context, r *rig, _ []instance) error {
	if runtime.GOOS != "linux" {
		fmt.Fprintln(b.stderr, "culvert: arrivals is only measured on Linux, since it needs more open files than other systems usually allow")
		return nil
	}
	bare, server, err := r.children(ctx)
	if err != nil {
		return err
	}
	for _, n := range []int{5_000, 10_000} {
		ceiling, err := arrive(ctx, n, func(int) string { return bare.url })
		if err != nil {
			return err
		}
		took, err := arrive(ctx, n, func(i int) string {
			return fmt.Sprintf("%s/v1/default/events?client=n%d-%s", server.url, n, strconv.Itoa(i))
		})
		if err != nil {
			return err
		}
		b.times(fmt.Sprintf("%d new clients connect, %d at a time, until all have a stream", n, openers), took, ceiling, "2 x")
		took, err = arrive(ctx, n, func(i int) string {
			return fmt.Sprintf("%s/v1/default/events?client=n%d-%s", server.url, n, strconv.Itoa(i))
		})
		if err != nil {
			return err
		}
		b.times(fmt.Sprintf("%d known clients connect, %d at a time", n, openers), took, ceiling, "2 x")
	}
	return nil
}

// arrive opens n streams and closes them.
func arrive(ctx context.Context, n int, url func(i int) string) (time.Duration, error) {
	start := time.Now()
	streams, err := openStreams(ctx, n, url)
	took := time.Since(start)
	closeAll(streams)
	if err != nil {
		return 0, err
	}
	select {
	case <-time.After(2 * time.Second): // until the server has noticed that they have gone
		return took, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
