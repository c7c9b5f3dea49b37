package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvertmq/culvert/api"
	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
)

// rig is a Postgres with durable commits and any number of instances on it.
type rig struct {
	postgres *localpg.Server
	close    []func() error
}

// apiKey is not a secret: it guards a server on loopback that runs for seconds.
const apiKey = "bench-key-of-a-server-that-lives-for-seconds"

func newRig(ctx context.Context) (*rig, error) {
	r := &rig{}
	var err error
	if r.postgres, err = localpg.StartTemp(ctx, localpg.Options{}); err != nil {
		return nil, err
	}
	r.close = append(r.close, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		return r.postgres.Stop(ctx)
	})
	if err := migrations.Up(ctx, r.postgres.DSN()); err != nil {
		return nil, errors.Join(err, r.stop())
	}
	return r, nil
}

// stop ends what was started, in reverse order.
func (r *rig) stop() (err error) {
	for i := len(r.close) - 1; i >= 0; i-- {
		err = errors.Join(err, r.close[i]())
	}
	return err
}

// instance is one Culvert server in this process.
type instance struct {
	queue *queue.Queue
	url   string
}

func (r *rig) instance(ctx context.Context) (instance, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	q, err := queue.Open(ctx, queue.Options{DatabaseURL: r.postgres.DSN(), Logger: log})
	if err != nil {
		return instance{}, err
	}
	r.close = append(r.close, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return q.Close(ctx)
	})
	h, err := api.New(q, api.Options{APIKeys: []string{apiKey}, Logger: log})
	if err != nil {
		return instance{}, err
	}
	r.close = append(r.close, func() error { h.Close(); return nil })
	url, err := r.serve(h, h.ConfigureServer)
	return instance{q, url}, err
}

// serve serves h on a loopback port until the rig stops.
func (r *rig) serve(h http.Handler, configure func(*http.Server)) (url string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	if configure != nil {
		configure(server)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	r.close = append(r.close, func() error {
		err := server.Close()
		serving.Wait()
		return err
	})
	return "http://" + l.Addr().String(), nil
}

// rate lets callers repeat work for duration and returns how much they did per second. The first fifth is a
// warm-up and does not count.
func rate(ctx context.Context, callers int, duration time.Duration, work func(ctx context.Context) (int, error)) (float64, error) {
	ctx, stop := context.WithTimeout(ctx, duration+duration/5)
	defer stop()
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				n, err := work(ctx)
				if err != nil && ctx.Err() == nil {
					failed.CompareAndSwap(nil, &err)
					stop()
				}
				done.Add(int64(n))
			}
		})
	}
	warm := time.NewTimer(duration / 5)
	defer warm.Stop()
	select {
	case <-warm.C:
	case <-ctx.Done():
	}
	before, start := done.Load(), time.Now()
	<-ctx.Done()
	after, took := done.Load(), time.Since(start)
	wg.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(after-before) / took.Seconds(), nil
}

// poster posts one body repeatedly over kept-alive connections.
type poster struct {
	client *http.Client
	url    string
	body   string
	status int // the expected status
}

func newPoster(url, body string, callers int) *poster {
	t := &http.Transport{MaxIdleConns: callers, MaxIdleConnsPerHost: callers, DisableCompression: true}
	return &poster{client: &http.Client{Transport: t}, url: url, body: body, status: http.StatusCreated}
}

func (p *poster) close() { p.client.CloseIdleConnections() }

func (p *poster) post(ctx context.Context) error {
	req, err := newPost(ctx, p.url, p.body)
	if err != nil {
		return err
	}
	return p.do(req, p.status)
}

// do sends a request and returns an error unless the answer has this status.
func (p *poster) do(req *http.Request, status int) error {
	res, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != status {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		return fmt.Errorf("status %d: %s", res.StatusCode, text)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}
