package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Stop shuts Postgres down for good and releases its folder; a throw-away folder
// is removed. Sessions are ended, and everything committed is kept. If ctx ends
// first, the shutdown becomes an immediate one, from which the next start
// recovers, and Stop then returns an error. A second Stop does nothing.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	s.stopped = true
	err := s.current.Load().end(ctx, syscall.SIGINT)
	s.owned.Wait()
	s.opt.Log.Info("postgres stopped")
	if err = errors.Join(err, s.release()); err != nil {
		return fmt.Errorf("stop local postgres: %w", err)
	}
	return nil
}

// StopImmediate ends Postgres without a checkpoint, like `pg_ctl stop -m
// immediate` or a crash. The server keeps its folder: see StartAgain.
func (s *Server) StopImmediate(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return ErrStopped
	}
	if err := s.current.Load().end(ctx, syscall.SIGQUIT); err != nil {
		return fmt.Errorf("stop local postgres immediately: %w", err)
	}
	s.owned.Wait()
	return nil
}

// StartAgain starts Postgres after StopImmediate, or after it ended by itself,
// with the same data, settings and DSN, and returns when it accepts connections.
func (s *Server) StartAgain(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return ErrStopped
	}
	if s.current.Load().running() {
		return errors.New("start local postgres again: it is running")
	}
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("start local postgres again: %w", err)
	}
	return nil
}

// release releases what a server holds in addition to its processes.
func (s *Server) release() error {
	var errs []error
	if s.sockets != "" {
		errs = append(errs, removeSockets(s.sockets))
	}
	if s.temp {
		// The folder is still locked, so no other process can have begun to use it.
		errs = append(errs, os.RemoveAll(string(s.folder)))
	}
	return errors.Join(append(errs, s.lock.release())...)
}
