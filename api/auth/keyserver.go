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
	// keysEvery is the age at which keys are fetched again. So a key that the issuer withdrew stays in use for
	// at most this time.
	keysEvery = 10 * time.Minute
	// keysRetry is how soon keys are fetched again after a failed fetch.
	keysRetry = 30 * time.Second
	// A token with an unknown kid causes a fetch at once, keysBurst times and then at most once in every
	// keysPause: so tokens with invented kids do not cause more fetches than that.
	keysPause = 10 * time.Second
	keysBurst = 3
)

// errNoKeysYet means that no fetch has succeeded since the start, so no token can be checked.
var errNoKeysYet = errors.New("no keys yet")

// keyServer holds the keys of a JWKS URL (RFC 7517). One goroutine fetches them; requests only ask it to, and
// wait. While the URL does not answer, the keys of the last good answer stay in use.
type keyServer struct {
	url        string
	algorithms []string // pinned
	client     *http.Client
	log        *slog.Logger
	rare       *rate.Limiter // limits fetches for unknown kids
	asked      chan struct{} // receives when a fetch is wanted
	stop       context.CancelFunc
	done       chan struct{} // closed when the goroutine has ended

	mu    sync.Mutex
	keys  *keySet       // nil before the first good answer
	round chan struct{} // closed at the end of the fetch that is under way or wanted; nil without one
}

// openKeyServer starts to fetch the keys and does not wait for an answer. close ends it.
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

// close ends the goroutine and waits until it has ended. The keys fetched before stay in use.
func (s *keyServer) close() {
	s.stop()
	<-s.done
}

// verifies reports whether the keys of the server may verify tokens of the algorithm.
func (s *keyServer) verifies(algorithm string) bool { return slices.Contains(s.algorithms, algorithm) }

// run fetches the keys until ctx ends.
func (s *keyServer) run(ctx context.Context) {
	defer close(s.done)
	for {
		next := keysEvery
		if err := s.runOnce(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("cannot fetch the keys that verify tokens; the known ones stay in use", "error", err)
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

// runOnce fetches the keys and wakes the requests that wait for them.
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
	case <-s.asked: // this fetch answers the request for one
	default:
	}
	return err
}

// find returns the keys with this kid, and named = true. An empty kid gets all keys, an unknown one none. It
// may wait for a fetch.
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

// join returns a channel that is closed at the end of a fetch: of the one under way, or else of one that join
// asks for. It returns nil when there were too many fetches lately.
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
		default: // a fetch has been asked for already
		}
	}
	return s.round
}
