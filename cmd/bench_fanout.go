package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/culvertmq/culvert/queue"
)

// benchStreams is how many streams a fan-out is measured with.
const benchStreams = 1000

// fanOut measures deliveries: every stream in one room, and each in ten rooms of ten.
func (b *bench) fanOut(ctx context.Context) (err error) {
	r, err := newRig(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	in, err := r.instance(ctx)
	if err != nil {
		return err
	}
	bare := &bareHub{}
	url, err := r.serve(bare, nil)
	if err != nil {
		return err
	}
	if err := seat(ctx, in.queue); err != nil {
		return err
	}
	emit := func(room func(i int) string) func(context.Context, int) error {
		return func(ctx context.Context, i int) error {
			e, err := benchEmit(room(i))
			if err != nil {
				return err
			}
			_, err = in.queue.Append(ctx, []queue.Emit{e})
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
		{"SSE deliveries, 1,000 streams of one room", "80 %", fan{events: 600, to: benchStreams, ahead: 2},
			func(int) string { return in.url + "/v1/default/events?rooms=lobby" }, func(int) string { return "lobby" }},
		{"SSE deliveries, 1,000 rooms of 10", "", fan{events: 30_000, to: 10, ahead: 200},
			func(i int) string { return in.url + "/v1/default/events?client=c" + strconv.Itoa(i) }, roomOf},
	} {
		bare.forget()
		ceiling, err := f.fan.deliver(ctx, nothingKept, func(_ context.Context, i int) error {
			bare.send(benchFrame, i, f.fan.to)
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

var benchFrame = []byte("id: k3f9:4711\nevent: chat message\ndata: " +
	`{"offset":4711,"room":"lobby","event":"chat message","data":{"text":"hello from the other side","n":12345},"from":null,"at":"2026-11-23T05:40:00.123Z"}` + "\n\n")

func roomOf(i int) string { return "r" + strconv.Itoa(i%benchStreams) }

// seat puts client n into rooms n to n+9.
func seat(ctx context.Context, q *queue.Queue) error {
	ns, err := queue.ParseNamespace("default")
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for i := range benchStreams {
		g.Go(func() error {
			client, err := queue.ParseClient("c" + strconv.Itoa(i))
			if err != nil {
				return err
			}
			for j := range 10 {
				room, err := queue.ParseRoom(roomOf(i + j))
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

// fan is a number of events that each go to some of the streams. So many are ahead of
// what was delivered: enough that emitting and delivering overlap, and few enough that
// frames are written as they come and not hundreds at once.
type fan struct{ events, to, ahead int }

// deliver opens the streams, has every event emitted, and returns deliveries a second
// from the first emit until the last frame was read.
func (f fan) deliver(ctx context.Context, url func(i int) string, emit func(ctx context.Context, i int) error) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	streams, err := openStreams(ctx, url)
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

func openStreams(ctx context.Context, url func(i int) string) ([]*benchStream, error) {
	var streams []*benchStream
	for i := range benchStreams {
		s, err := openStream(ctx, url(i))
		if err != nil {
			return streams, err
		}
		streams = append(streams, s)
	}
	return streams, nil
}

func closeAll(streams []*benchStream) {
	for _, s := range streams {
		s.close()
	}
}

// bareHub is the ceiling: it writes frames that are made already to whoever is
// connected, those that wait together in one write, and keeps nothing.
type bareHub struct {
	mu    sync.Mutex
	conns []chan []byte
}

func (h *bareHub) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = nil
}

// send gives a frame to n connections, from the given one on.
func (h *bareHub) send(frame []byte, from, n int) {
	for i := range n {
		h.conns[(from+i)%len(h.conns)] <- frame
	}
}

// sendAll gives a frame to every connection that is there.
func (h *bareHub) sendAll(frame []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns {
		h.conns[c] <- frame
	}
}

func (h *bareHub) remove(c chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = slices.DeleteFunc(h.conns, func(other chan []byte) bool { return other == c })
}

func (h *bareHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := make(chan []byte, 1024)
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	h.mu.Lock()
	h.conns = append(h.conns, c)
	h.mu.Unlock()
	defer h.remove(c)
	_, _ = w.Write([]byte("event: hello\ndata: {}\n\n"))
	_ = flush.Flush()
	for {
		select {
		case frame := <-c:
			_, err := w.Write(frame)
			for len(c) > 0 && err == nil {
				_, err = w.Write(<-c)
			}
			if err != nil || flush.Flush() != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
