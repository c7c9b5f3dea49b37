package cmd

import (
	"context"
	"errors"
	"time"
)

// The ends of the steps of a stop, counted from the signal. Orchestrators kill
// after 10 seconds.
const (
	stopConnections = 6 * time.Second // what is still open then is cut
	stopQueue       = 8 * time.Second
	stopPostgres    = 9500 * time.Millisecond
	stopAll         = 9800 * time.Millisecond // returns whatever hangs
)

// close ends whatever was started, in the reverse order, within stopAll. It is
// the way out of a failed start, too.
func (s *server) close() error {
	done := make(chan error, 1)
	go func() { done <- s.stop(time.Now()) }()
	select {
	case err := <-done:
		return err
	case <-time.After(stopAll):
		return errors.New("did not stop in time, leaving the rest to the operating system")
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

// stopHTTP fails the readiness probe and ends streams and polls, goes on
// answering for a while so that load balancers notice, then closes the listener
// and waits for the requests under way.
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
