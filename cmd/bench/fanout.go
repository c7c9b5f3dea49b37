package bench

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
)

// fanOut measures deliveries: once with all streams in one room, once with each stream in ten rooms of ten.
func (b *bench) fanOut(ctx context.Context, r *rig, all []instance) error {
	in := all[0]
	bare := &bareHub{}
	url, err := r.serve(bare, nil)
	if err != nil {
		return err
	}
	if err := joinRooms(ctx, in.queue); err != nil {
		return err
	}
	emit := func(room func(i int) string) func(context.Context, int) error {
		return func(ctx context.Context, i int) error {
			e, err := benchEmit(room(i))
			if err != nil {
				return err
			}
			_, err = in.queue.Append(ctx, []event.Emit{e})
			return err
		}
	}
	nothingKept := func(int) string { return url }
	for _, f := range []struct {
		what, goal string
		fan        fan
		url        func(i int) string
		room       func(i int) string
	}{
		{"SSE deliveries, 1,000 streams of one room", "90 %", fan{streams: streamCount, events: 600, to: streamCount, ahead: 2},
			func(int) string { return in.url + "/v1/default/events?rooms=lobby" }, func(int) string { return "lobby" }},
		{"SSE deliveries, 5,000 streams of one room", "90 %", fan{streams: 5000, events: 120, to: 5000, ahead: 2},
			func(int) string { return in.url + "/v1/default/events?rooms=lobby" }, func(int) string { return "lobby" }},
		{"SSE deliveries, 1,000 rooms of 10", "", fan{streams: streamCount, events: 30_000, to: 10, ahead: 200},
			func(i int) string { return in.url + "/v1/default/events?client=c" + strconv.Itoa(i) }, roomOf},
	} {
		bare.forget()
		ceiling, err := f.fan.deliver(ctx, nothingKept, func(_ context.Context, i int) error {
			bare.send(madeFrame, i, f.fan.to)
			return nil
		})
		if err != nil {
			return err
		}
		measured, err := f.fan.deliver(ctx, f.url, emit(f.room))
		if err != nil {
			return err
		}
		b.compare(f.what, measured, ceiling, f.goal)
	}
	return nil
}

func roomOf(i int) string { return "r" + strconv.Itoa(i%streamCount) }

// joinRooms puts client n into rooms n to n+9.
func joinRooms(ctx context.Context, q *queue.Queue) error {
	ns, err := event.ParseNamespace("default")
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for i := range streamCount {
		g.Go(func() error {
			client, err := event.ParseClient("c" + strconv.Itoa(i))
			if err != nil {
				return err
			}
			for j := range 10 {
				room, err := event.ParseRoom(roomOf(i + j))
				if err != nil {
					return err
				}
				if _, err := q.Join(ctx, ns, room, client, 0); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// fan is a number of events, each of which goes to some of the streams; ahead is by how many events the emitter
// may be ahead of deliveries: enough that emitting and delivering overlap, and few enough that frames are
// written as they come and not by hundreds.
type fan struct{ streams, events, to, ahead int }

// deliver opens the streams, emits all events, and returns deliveries per second, from the first emit until the
// last frame was read.
func (f fan) deliver(ctx context.Context, url func(i int) string, emit func(ctx context.Context, i int) error) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	streams, err := openStreams(ctx, f.streams, url)
	defer closeAll(streams)
	if err != nil {
		return 0, err
	}
	var got atomic.Int64
	all := make(chan struct{})
	room := make(chan struct{}, f.events+f.ahead)
	for range f.ahead {
		room <- struct{}{}
	}
	want := int64(f.events * f.to)
	var reading sync.WaitGroup
	for _, s := range streams {
		reading.Go(func() {
			for {
				data, err := s.next()
				if err != nil {
					return
				}
				if bytes.HasPrefix(data, []byte(`{"at":`)) {
					continue // a heartbeat
				}
				switch n := got.Add(1); {
				case n == want:
					close(all)
				case n%int64(f.to) == 0:
					room <- struct{}{}
				}
			}
		})
	}
	start := time.Now()
	g, emitting := errgroup.WithContext(ctx)
	g.SetLimit(f.ahead)
	for i := range f.events {
		select {
		case <-room:
		case <-emitting.Done():
		}
		g.Go(func() error { return emit(emitting, i) })
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	select {
	case <-all:
	case <-ctx.Done():
		return 0, fmt.Errorf("%d of %d deliveries: %w", got.Load(), want, ctx.Err())
	}
	took := time.Since(start)
	closeAll(streams)
	reading.Wait()
	return float64(want) / took.Seconds(), nil
}
