package handlers

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
)

// Func runs for an event. It may run more than once for the same event, even after it returned nil, but not
// twice at the same time: when that can no longer be promised, its context ends with the cause ErrLeaseLost.
//
// After an error or a panic the event is run again later. If the event asks for replies, reply is stored as
// one: any value that marshals to JSON, or an event.Data. nil sends no reply; to reply null, return
// json.RawMessage("null").
type Func func(ctx context.Context, e *event.Event) (reply any, err error)

// Option changes what Handle does.
type Option func(*settings)

// settings are what an Option may change.
type settings struct {
	name               string
	earliest, silent   bool
	tries, slots       int
	least, most, lease time.Duration
}

// Named gives the handler a name of its own: handlers of the same name and
// namespace share their work and their position, whatever instance they are in.
// Without it the name is the pattern.
func Named(name string) Option { return func(s *settings) { s.name = name } }

// FromEarliest makes a new handler begin at the oldest retained event, not at the head.
func FromEarliest() Option { return func(s *settings) { s.earliest = true } }

// Silent says that the handler never replies, so that asks do not wait for it.
func Silent() Option { return func(s *settings) { s.silent = true } }

// Tries is how often an event is run before it is parked. Default: 10.
func Tries(n int) Option { return func(s *settings) { s.tries = n } }

// Backoff bounds the pause after a failed run, which doubles each time and is partly random. Default: 1s and
// 5m.
func Backoff(least, most time.Duration) Option {
	return func(s *settings) { s.least, s.most = least, most }
}

// Concurrency is how many events this instance runs at a time. Default: 4.
func Concurrency(n int) Option { return func(s *settings) { s.slots = n } }

// Lease is how long after the death of an instance another one runs its events again. It is renewed while they
// run. Default: 30s.
func Lease(d time.Duration) Option { return func(s *settings) { s.lease = d } }

// Options configure New. All are required.
type Options struct {
	Lineage *lineage.Keeper
	// DB has connections that may wait for a row's lock.
	DB *pgxpool.Pool
	// Timeout is how long the registration of a handler may take.
	Timeout time.Duration
	// Reply stores a handler's reply to an event, under the handler's own party. Errors: event.ErrReplyClosed,
	// event.ErrNoAsk, event.ErrUnavailable.
	Reply   func(ctx context.Context, ns event.Namespace, to event.Offset, d event.Data, party string) error
	Logger  *slog.Logger
	Metrics *Metrics
}
