package auth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// keysEvery is the age at which keys are fetched again: how long a key that
	// the issuer withdrew goes on working.
	keysEvery = 10 * time.Minute
	// keysRetry is the same after a fetch that failed.
	keysRetry = 30 * time.Second
	// A token with an unknown kid has the keys fetched at once, keysBurst times
	// and then every keysPause: tokens that name nonsense cost no more.
	keysPause = 10 * time.Second
	keysBurst = 3
)

// errNoKeysYet: no fetch has succeeded since the start, so nothing is known of
// any token.
var errNoKeysYet = errors.New("no keys yet")

// keyServer holds the keys of a JWKS URL (RFC 7517). One goroutine fetches
// them; requests only ask for it and wait. When the URL does not answer, the
// keys of the last good answer go on working.
type keyServer struct {
	url        string
	algorithms []string // pinned
	client     *http.Client
	log        *slog.Logger
	rare       *rate.Limiter // fetches for unknown names
	asked      chan struct{} // receives when a fetch is wanted
	stop       context.CancelFunc
	done       chan struct{} // closed when the goroutine is gone

	mu    sync.Mutex
	keys  *keySet       // nil before the first good answer
	round chan struct{} // closed at the end of the fetch that is under way or wanted; nil without one
}

// openKeyServer begins to fetch; it does not wait for an answer. close ends it.
func openKeyServer(url string, pinned []string, log *slog.Logger) *keyServer {
	ctx, stop := context.WithCancel(context.Background())
	s := &keyServer{
		url: url, log: log, client: newKeyClient(),
		algorithms: slices.DeleteFunc(slices.Clone(pinned), func(a string) bool { return strings.HasPrefix(a, "HS") }),
		rare:       rate.NewLimiter(rate.Every(keysPause), keysBurst),
		asked:      make(chan struct{}, 1), stop: stop, done: make(chan struct{}),
		round: make(chan struct{}),
	}
	go s.run(ctx)
	return s
}

// close returns when the goroutine is gone. Known keys go on working.
func (s *keyServer) close() {
	s.stop()
	<-s.done
}

// verifies reports whether tokens of the algorithm can be for this server's keys.
func (s *keyServer) verifies(algorithm string) bool { return slices.Contains(s.algorithms, algorithm) }

// run fetches the keys until ctx ends.
func (s *keyServer) run(ctx context.Context) {
	defer close(s.done)
	for {
		next := keysEvery
		if err := s.runOnce(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("cannot fetch the keys of tokens; those known stay in use", "error", err)
			next = keysRetry
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-s.asked:
			timer.Stop()
		}
	}
}

// runOnce fetches the keys and lets go those who wait for it.
func (s *keyServer) runOnce(ctx context.Context) error {
	s.mu.Lock()
	if s.round == nil {
		s.round = make(chan struct{})
	}
	s.mu.Unlock()
	keys, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.keys = keys
	}
	close(s.round)
	s.round = nil
	select {
	case <-s.asked: // this fetch is what was asked for
	default:
	}
	return err
}

// find returns the keys of this name, and named, or all keys when kid is empty.
// It may wait for a fetch.
func (s *keyServer) find(ctx context.Context, kid string) (found []trusted, named bool, err error) {
	keys := s.known()
	if !keys.has(kid) {
		if round := s.join(); round != nil {
			select {
			case <-round:
			case <-s.done:
			case <-ctx.Done():
				return nil, false, ctx.Err()
			}
			keys = s.known()
		}
	}
	switch {
	case keys == nil:
		return nil, false, errNoKeysYet
	case kid == "":
		return keys.all, false, nil
	}
	found, named = keys.byID[kid]
	return found, named, nil
}

func (s *keyServer) known() *keySet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys
}

// join returns what is closed at the end of the fetch under way or else of one
// it asks for; nil when there were too many lately.
func (s *keyServer) join() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.round == nil {
		if !s.rare.Allow() {
			return nil
		}
		s.round = make(chan struct{})
		select {
		case s.asked <- struct{}{}:
		default: // it is asked for already
		}
	}
	return s.round
}
