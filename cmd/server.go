package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/culvertmq/culvert/api"
	"github.com/culvertmq/culvert/cmd/config"
	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/queue"
)

// server has everything that serve runs, in the order in which it is started. A nil field is not started yet,
// or is not wanted.
type server struct {
	cfg *config.Config
	log *slog.Logger

	api, admin net.Listener
	postgres   *localpg.Server
	queue      *queue.Queue
	handler    *api.Handler
	apiHTTP    *http.Server
	adminHTTP  *http.Server

	failed  chan error // holds why a listener broke
	serving sync.WaitGroup
}

// listen opens the ports. Connections wait in the system's backlog until start.
func listen(cfg *config.Config, log *slog.Logger) (*server, error) {
	s := &server{cfg: cfg, log: log, failed: make(chan error, 2)}
	var err error
	if s.api, err = openPort("listen", cfg.Listen); err != nil {
		return nil, err
	}
	if cfg.AdminListen == "" {
		return s, nil
	}
	if s.admin, err = openPort("admin-listen", cfg.AdminListen); err != nil {
		return nil, errors.Join(err, s.api.Close())
	}
	return s, nil
}

func openPort(setting, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: another program uses %s: stop it, or choose another address with --%s", setting, address, setting)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: not allowed to use %s: ports below 1024 need privileges; choose another with --%s", setting, address, setting)
	case err != nil:
		return nil, fmt.Errorf("%s: cannot use %s: %w; choose another address with --%s", setting, address, err, setting)
	}
	return l, nil
}

// adminTimeout bounds a request to the admin listener, and its answer.
const adminTimeout = 30 * time.Second

// start starts to serve.
func (s *server) start(admin http.Handler) {
	s.apiHTTP = s.httpServer(s.handler)
	s.serveOn(s.apiHTTP, s.handler.Listener(s.api))
	if s.admin != nil {
		s.adminHTTP = s.httpServer(admin)
		s.adminHTTP.ReadTimeout, s.adminHTTP.WriteTimeout = adminTimeout, adminTimeout // no request there is long
		s.serveOn(s.adminHTTP, s.admin)
	}
}

func (s *server) httpServer(h http.Handler) *http.Server {
	server := &http.Server{Handler: h} //nolint:gosec // ConfigureServer sets the timeouts
	s.handler.ConfigureServer(server)
	return server
}

func (s *server) serveOn(h *http.Server, l net.Listener) {
	s.serving.Go(func() {
		if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("listener %s: %w", l.Addr(), err)
		}
	})
}

// run waits until ctx ends or a listener fails.
func (s *server) run(ctx context.Context) error {
	keep, stopKeeping := context.WithCancel(ctx)
	defer stopKeeping()
	if s.postgres != nil {
		s.serving.Go(func() { keepPostgres(keep, s.postgres, s.log) })
	}
	select {
	case <-ctx.Done():
		s.log.Info("stopping")
		return nil
	case err := <-s.failed:
		return err
	}
}

// url returns the URL of the API for a client on this machine.
func (s *server) url() string { return localURL(s.api.Addr().String()) }

func (s *server) adminAddress() string {
	if s.admin == nil {
		return ""
	}
	return s.admin.Addr().String()
}

// localURL returns the URL of a listening address for a client on this machine. An address that means all
// interfaces becomes loopback, since one cannot connect to it.
func localURL(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "http://" + address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// The deadlines of the steps of a stop, counted from the signal. Orchestrators kill the process after 10
// seconds.
const (
	stopConnections = 6 * time.Second // connections still open are cut then
	stopQueue       = 8 * time.Second
	stopPostgres    = 9500 * time.Millisecond
	stopAll         = 9800 * time.Millisecond // close returns then, even if something hangs
)

// close ends all that was started, in reverse order, within stopAll. A failed start calls it, too.
func (s *server) close() error {
	done := make(chan error, 1)
	go func() { done <- s.stop(time.Now()) }()
	select {
	case err := <-done:
		return err
	case <-time.After(stopAll):
		return errors.New("did not stop in time; exiting without waiting for the rest")
	}
}

func (s *server) stop(began time.Time) error {
	errs := []error{s.stopHTTP(began)}
	if s.handler != nil {
		s.handler.Close()
	}
	if s.queue != nil {
		ctx, cancel := context.WithDeadline(context.Background(), began.Add(stopQueue))
		errs = append(errs, s.queue.Close(ctx))
		cancel()
	}
	if s.postgres != nil {
		ctx, cancel := context.WithDeadline(context.Background(), began.Add(stopPostgres))
		errs = append(errs, s.postgres.Stop(ctx))
		cancel()
	}
	s.serving.Wait()
	return errors.Join(errs...)
}

// stopHTTP fails the readiness probe and ends streams and polls. It keeps answering for a while, so that load
// balancers notice, then closes the listener and waits for requests under way.
func (s *server) stopHTTP(began time.Time) error {
	if s.apiHTTP == nil {
		errs := []error{s.api.Close()}
		if s.admin != nil {
			errs = append(errs, s.admin.Close())
		}
		return errors.Join(errs...)
	}
	ctx, cancel := context.WithDeadline(context.Background(), began.Add(stopConnections))
	defer cancel()
	s.handler.Drain()
	pause(ctx, s.cfg.Drain)
	if s.apiHTTP.Shutdown(ctx) != nil || s.handler.Wait(ctx) != nil {
		s.log.Warn("connections were still open and have been cut")
	}
	err := s.apiHTTP.Close()
	if s.adminHTTP != nil {
		err = errors.Join(err, s.adminHTTP.Close())
	}
	return err
}
