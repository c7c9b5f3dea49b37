package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/culvertmq/culvert/event"
)

const (
	pollRate   = 10  // events a second
	pollRounds = 100 // events one after the other, as fast as they arrive
)

// polls measures long polls of named clients: how late an event comes at a low rate, beside streams, and how
// many deliveries there are a second when the next event follows as soon as everybody has the one before.
func (b *bench) polls(ctx context.Context, r *rig, all []instance) error {
	in := all[0]
	bare := newBarePolls()
	url, err := r.serve(bare, nil)
	if err != nil {
		return err
	}
	toAll := func(ctx context.Context, n int) error {
		e, err := benchEmit("lobby")
		if err != nil {
			return err
		}
		e.Rooms = nil // everybody
		if e.Data, err = event.ParseData([]byte(`{"text":"hello from the other side","n":` + strconv.Itoa(n) + `}`)); err != nil {
			return err
		}
		_, err = in.queue.Append(ctx, []event.Emit{e})
		return err
	}
	// Each part has clients of its own: whoever acknowledges nothing gets the events of earlier parts again.
	clientURL := func(part string, i int) string { return in.url + "/v1/default/events?client=" + part + strconv.Itoa(i) }
	streams, err := b.lateness(ctx, toAll, func(ctx context.Context, i int, got func(int)) error { return readStream(ctx, clientURL("s", i), got) })
	if err != nil {
		return err
	}
	b.quantiles("1,000 streams, 10 events/s: emit sent to frame received", streams, "")
	polls, err := b.lateness(ctx, toAll, func(ctx context.Context, i int, got func(int)) error { return readPolls(ctx, clientURL("p", i), got) })
	if err != nil {
		return err
	}
	b.quantiles("1,000 long polls, 10 events/s: emit sent to answer received", polls, "2 x the streams")
	ceiling, err := pollsPerSecond(ctx, bare.send, func(ctx context.Context, i int, got func(int)) error {
		return readPolls(ctx, url+"/?c="+strconv.Itoa(i), got)
	})
	if err != nil {
		return err
	}
	measured, err := pollsPerSecond(ctx, toAll, func(ctx context.Context, i int, got func(int)) error { return readPolls(ctx, clientURL("d", i), got) })
	if err != nil {
		return err
	}
	b.compare("long-poll deliveries, 1,000 pollers", measured, ceiling, "80 %")
	return nil
}

// reader reads as one client until ctx ends, and reports the number in each event.
type reader func(ctx context.Context, i int, got func(n int)) error

// lateness emits at a low rate for the duration and returns how long each delivery took.
func (b *bench) lateness(ctx context.Context, emit func(context.Context, int) error, read reader) (all []time.Duration, err error) {
	events := max(int(b.duration.Seconds()*pollRate), pollRate)
	sent := make([]atomic.Int64, events+1)
	var mu sync.Mutex
	var received atomic.Int64
	stop, err := startReaders(ctx, emit, read, func(n int) {
		if n < 1 || n > events {
			return
		}
		took := time.Duration(time.Now().UnixNano() - sent[n].Load())
		mu.Lock()
		all = append(all, took)
		mu.Unlock()
		received.Add(1)
	})
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(time.Second / pollRate)
	defer tick.Stop()
	for n := 1; n <= events; n++ {
		sent[n].Store(time.Now().UnixNano())
		if err := emit(ctx, n); err != nil {
			return nil, errors.Join(err, stop())
		}
		<-tick.C
	}
	for end := time.Now().Add(10 * time.Second); received.Load() < int64(events*streamCount) && time.Now().Before(end); {
		<-tick.C
	}
	if err := stop(); err != nil {
		return nil, err
	}
	if n := len(all); n < events*streamCount {
		return nil, fmt.Errorf("%d of %d deliveries arrived", n, events*streamCount)
	}
	return all, nil
}

// pollsPerSecond sends each event as soon as everybody has the one before.
func pollsPerSecond(ctx context.Context, emit func(context.Context, int) error, read reader) (float64, error) {
	var received atomic.Int64
	done := make(chan struct{}, 1)
	stop, err := startReaders(ctx, emit, read, func(n int) {
		if n >= 1 && received.Add(1)%streamCount == 0 {
			select {
			case done <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		return 0, err
	}
	start := time.Now()
	for n := 1; n <= pollRounds; n++ {
		if err := emit(ctx, n); err != nil {
			return 0, errors.Join(err, stop())
		}
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			return 0, errors.Join(fmt.Errorf("%d of %d deliveries arrived", received.Load(), n*streamCount), stop())
		}
	}
	took := time.Since(start)
	return pollRounds * streamCount / took.Seconds(), stop()
}

// startReaders starts all clients, and returns once each has received an event of number 0.
func startReaders(ctx context.Context, emit func(context.Context, int) error, read reader, got func(n int)) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	g, reading := errgroup.WithContext(ctx)
	var there sync.WaitGroup
	there.Add(streamCount)
	for i := range streamCount {
		g.Go(func() error {
			first := sync.OnceFunc(there.Done)
			defer first()
			err := read(reading, i, func(n int) {
				if n == 0 {
					first()
				}
				got(n)
			})
			if ctx.Err() != nil {
				return nil
			}
			return err
		})
	}
	all := make(chan struct{})
	go func() {
		there.Wait()
		close(all)
	}()
	stop = func() error {
		cancel()
		return g.Wait()
	}
	for { // those that connect late need another one
		if err := emit(ctx, 0); err != nil {
			return nil, errors.Join(err, stop())
		}
		select {
		case <-all:
			return stop, nil
		case <-reading.Done():
			return nil, stop()
		case <-time.After(time.Second):
		}
	}
}

func readStream(ctx context.Context, url string, got func(n int)) error {
	s, err := openStream(ctx, url)
	if err != nil {
		return err
	}
	defer s.close()
	for {
		data, err := s.next()
		if err != nil {
			return err
		}
		numbers(data, got)
	}
}

// readPolls polls over one connection, each time from the cursor of the answer before.
func readPolls(ctx context.Context, url string, got func(n int)) error {
	host, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	r := bufio.NewReader(conn)
	after := ""
	for {
		_, err := fmt.Fprintf(conn, "GET /%s&wait=25%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", path, after, host, apiKey)
		if err != nil {
			return err
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			return err
		}
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("poll: status %d: %s", res.StatusCode, body)
		}
		if i := bytes.LastIndex(body, []byte(`"cursor":"`)); i >= 0 {
			text := body[i+len(`"cursor":"`):]
			after = "&after=" + string(text[:max(bytes.IndexByte(text, '"'), 0)])
		}
		numbers(body, got)
	}
}

// numbers reports the number of each event.
func numbers(body []byte, got func(n int)) {
	for {
		_, rest, ok := bytes.Cut(body, []byte(`"n":`))
		if !ok {
			return
		}
		body = rest
		if n, err := strconv.Atoi(string(rest[:max(bytes.IndexByte(rest, '}'), 0)])); err == nil {
			got(n)
		}
	}
}
