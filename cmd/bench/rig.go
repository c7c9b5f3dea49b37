package bench

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
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

// onRig runs measure on a new rig with this number of instances, and stops all of it afterwards.
func onRig(ctx context.Context, instances int, measure func(*rig, []instance) error) (err error) {
	r, err := newRig(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	var all []instance
	for range instances {
		in, err := r.instance(ctx)
		if err != nil {
			return err
		}
		all = append(all, in)
	}
	return measure(r, all)
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
	return r.instanceThatKeeps(ctx, 0)
}

// instanceThatKeeps starts an instance that keeps so many events in memory; 0: the default.
func (r *rig) instanceThatKeeps(ctx context.Context, events int) (instance, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	q, err := queue.Open(ctx, queue.Options{DatabaseURL: r.postgres.DSN(), Logger: log, TailEvents: events})
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
	url, err := r.serveOn(h, h.ConfigureServer, h.Listener)
	return instance{q, url}, err
}

// serve serves h on a loopback port until the rig stops.
func (r *rig) serve(h http.Handler, configure func(*http.Server)) (url string, err error) {
	return r.serveOn(h, configure, func(l net.Listener) net.Listener { return l })
}

// serveOn is serve with a listener that is wrapped.
func (r *rig) serveOn(h http.Handler, configure func(*http.Server), wrap func(net.Listener) net.Listener) (url string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	l = wrap(l)
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
