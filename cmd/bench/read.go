package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
)

// catchUp measures one client that reads an old log.
func (b *bench) catchUp(ctx context.Context) (err error) {
	r, err := newRig(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	writer, err := r.instance(ctx)
	if err != nil {
		return err
	}
	if err := fill(ctx, writer.queue, b.events); err != nil {
		return err
	}
	sql, err := readSQL(ctx, r.postgres.DSN(), b.events)
	if err != nil {
		return err
	}
	reader, err := r.instance(ctx) // a new one, whose tail is empty
	if err != nil {
		return err
	}
	stream, err := openStream(ctx, reader.url+"/v1/default/events?rooms=lobby&from=earliest")
	if err != nil {
		return err
	}
	defer stream.close()
	start := time.Now()
	for range b.events {
		if _, err := stream.next(); err != nil {
			return err
		}
	}
	b.compare("events caught up with by one client, SSE", float64(b.events)/time.Since(start).Seconds(), sql, "80 %")
	return nil
}

func fill(ctx context.Context, q *queue.Queue, events int) error {
	emit, err := benchEmit("lobby")
	if err != nil {
		return err
	}
	for left := events; left > 0; {
		n := min(left, 1000)
		if _, err := q.Append(ctx, slices.Repeat([]event.Emit{emit}, n)); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// readSQL reads the room with plain SQL, in pages of 1,000 rows as the server does, into plain variables.
func readSQL(ctx context.Context, dsn string, events int) (perSecond float64, err error) {
	const query = `
		SELECT e."offset", e.at, e.event, e.sender, e.except_, e.data
		  FROM culvert.events e
		 WHERE e.room_id = (SELECT id FROM culvert.rooms WHERE name = 'lobby') AND e."offset" > $1
		 ORDER BY e."offset"
		 LIMIT 1000`
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	// This gives the plan that culvert.page gets; otherwise Postgres may sort the whole slice.
	if _, err := conn.Exec(ctx, `SET enable_bitmapscan = off; SET enable_seqscan = off`); err != nil {
		return 0, err
	}
	start := time.Now()
	var (
		at          time.Time
		event, data string
		sender      *string
		except      []string
	)
	for read, after := 0, int64(0); read < events; {
		rows, err := conn.Query(ctx, query, after)
		if err != nil {
			return 0, err
		}
		for rows.Next() {
			if err := rows.Scan(&after, &at, &event, &sender, &except, &data); err != nil {
				return 0, err
			}
			read++
		}
		if err := rows.Err(); err != nil {
			return 0, err
		}
	}
	return float64(events) / time.Since(start).Seconds(), nil
}

// eventStream reads the frames of a stream, and does nothing else.
type eventStream struct {
	res    *http.Response
	r      *bufio.Reader
	cancel context.CancelFunc
}

// openStream opens a stream and waits for its hello frame.
func openStream(ctx context.Context, url string) (*eventStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Accept", "text/event-stream")
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req) //nolint:bodyclose // close does
	if err != nil {
		cancel()
		return nil, err
	}
	s := &eventStream{res, bufio.NewReaderSize(res.Body, 64<<10), cancel}
	if res.StatusCode != http.StatusOK {
		s.close()
		return nil, fmt.Errorf("stream: status %d", res.StatusCode)
	}
	if _, err := s.next(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// next returns the data of the next frame, valid until the next call.
func (s *eventStream) next() (data []byte, err error) {
	for {
		line, err := s.r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if len(line) == 1 {
			return data, nil
		}
		if rest, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			data = rest
		}
	}
}

func (s *eventStream) close() {
	s.cancel()
	_ = s.res.Body.Close()
}

// latency measures one emit at a time, from one instance to a stream of another one.
func (b *bench) latency(ctx context.Context) (err error) {
	r, err := newRig(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	from, err := r.instance(ctx)
	if err != nil {
		return err
	}
	to, err := r.instance(ctx)
	if err != nil {
		return err
	}
	stream, err := openStream(ctx, to.url+"/v1/default/events?rooms=lobby")
	if err != nil {
		return err
	}
	defer stream.close()
	whole, committed, err := b.times(ctx, newPoster(from.url+"/v1/default/emit", oneEvent, 1), stream)
	if err != nil {
		return err
	}
	b.quantiles("emit sent to frame received, other instance", whole, "")
	b.quantiles("commit known to frame received, other instance", committed, "p99 10ms")
	return nil
}

// times emits every 5 ms for the duration, but waits until the previous event has arrived.
func (b *bench) times(ctx context.Context, p *poster, stream *eventStream) (whole, committed []time.Duration, err error) {
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

func (b *bench) quantiles(what string, d []time.Duration, goal string) {
	slices.Sort(d)
	at := func(q float64) time.Duration {
		return d[min(int(q*float64(len(d))), len(d)-1)].Round(10 * time.Microsecond)
	}
	b.rows = append(b.rows, row{what, fmt.Sprintf("p50 %v, p99 %v", at(0.5), at(0.99)), "", "", goal})
}
