package localpg

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Server is a private Postgres of this process. Its methods may be called by
// several goroutines.
type Server struct {
	opt     Options
	folder  folder
	account account
	bin     binaries
	sockets string
	lock    *lock
	temp    bool // the folder is removed with the server

	mu      sync.Mutex // held while the server is started or stopped
	stopped bool
	current atomic.Pointer[process] // the last postmaster, running or not
	owned   sync.WaitGroup
}

// Start runs the Postgres of opt.Dir, making folder and cluster if they are
// missing, and returns when it accepts connections. ctx bounds only the start,
// which may take long after a crash. If another process uses the folder, or it is not a
// culvert data folder, Start does not change it and returns an error that explains this.
func Start(ctx context.Context, opt Options) (*Server, error) {
	s := &Server{opt: opt.withDefaults()}
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("local postgres: %w", err)
	}
	if err := s.prepare(ctx); err != nil {
		return nil, fmt.Errorf("local postgres: %w", errors.Join(err, s.lock.release()))
	}
	return s, nil
}

// open opens and locks the folder.
func (s *Server) open(ctx context.Context) (err error) {
	if s.folder, err = openFolder(s.opt.Dir); err != nil {
		return err
	}
	s.lock, err = acquire(ctx, s.folder.lock(), lockPatience)
	return err
}

// prepare makes a running server from a folder in any state.
func (s *Server) prepare(ctx context.Context) (err error) {
	if s.account, err = chooseAccount(s.folder.data()); err != nil {
		return err
	}
	if err = s.account.reach(ctx, string(s.folder)); err != nil {
		return err
	}
	major, err := s.folder.checkCluster()
	if err != nil {
		return err
	}
	if s.bin, err = s.opt.search.find(ctx, major, s.opt.Progress); err != nil {
		return err
	}
	s.sockets = s.folder.socketFolder()
	if err = s.lock.describe(s.DSN()); err != nil {
		return err
	}
	if major == 0 {
		if err = s.makeCluster(ctx); err != nil {
			return err
		}
	}
	return s.run(ctx)
}

// Done returns a channel that is closed when the present postmaster has ended, for whatever
// reason; after StartAgain, Done returns a new channel.
func (s *Server) Done() <-chan struct{} {
	return s.current.Load().done
}

// Err returns how the postmaster ended, with the reason from its log; nil while
// it runs and after an orderly stop.
func (s *Server) Err() error {
	p := s.current.Load()
	if p.running() || p.err == nil {
		return nil
	}
	return fmt.Errorf("postgres ended: %w: %s; more is in %s", p.err, lastWords(s.folder.log()), s.folder.log())
}
