package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/queue/log"
)

// Options configure Open. Zero fields mean the default given.
type Options struct {
	// DatabaseURL is the DSN (URL or key=value) of the database. Either it or Pool is required.
	DatabaseURL string
	// Pool is the application's own pool on the database, instead of DatabaseURL. Culvert takes from it how to
	// connect: its ConnConfig, BeforeConnect and AfterConnect, and how long connections may last. It opens its
	// own connections in the same way, at most MaxConns, with the application_name culvert. It takes none out
	// of Pool and never closes Pool, so neither side waits for the other's connections. Postgres sees up to
	// MaxConns connections in addition to those of Pool.
	Pool *pgxpool.Pool
	// ListenURL is a direct DSN for LISTEN, if DatabaseURL or Pool leads through a transaction pooler. Empty:
	// LISTEN connects like the others.
	ListenURL string
	// PollOnly turns LISTEN off; the head is then polled every Poll. Open turns LISTEN off by itself if
	// notifications do not arrive.
	PollOnly bool
	// Poll is how often the head is read without a notification. Default: 1s with LISTEN, where it only
	// covers lost notifications, and 100ms with PollOnly.
	Poll time.Duration
	// Retention is how long events are kept at least. Whole slices are dropped, so events are kept at most
	// Retention + Slice. Default: 168h.
	Retention time.Duration
	// RetentionEvents drops the oldest slices once more events than this are kept; 0 means no limit.
	RetentionEvents int64
	// Slice is the time that one slice covers. Default: 1h.
	Slice time.Duration
	// SliceEvents closes a slice early once it holds this many events. Default: 50 million.
	SliceEvents int64
	// DedupWindow is how long idempotency keys are remembered. Default: 24h.
	DedupWindow time.Duration
	// QueueEvents and QueueBytes bound the emits that wait for a commit; beyond them, Append fails with
	// ErrOverloaded. Default: 10,000 and 64 MiB.
	QueueEvents int
	QueueBytes  int
	// TailEvents and TailBytes bound the recent events kept in memory. Default: 50,000 and 64 MiB.
	TailEvents int
	TailBytes  int
	// AppendTimeout is how long one append may take before its emits fail with ErrUnavailable. Default: 8s.
	AppendTimeout time.Duration
	// SessionIdle is how long what is known of a client is kept in memory between two long polls: 60s. Within it a poll
	// that continues on the same instance asks Postgres nothing. Less than 0: nothing is kept.
	SessionIdle time.Duration
	// MaxConns bounds the connections to Postgres, the one that listens included; at least 5. Connections of
	// Pool are the application's and do not count. Default: 10.
	MaxConns int
	// Logger gets the log messages. Default: slog.Default().
	Logger *slog.Logger
	// Registerer receives the metrics; nil: they are not registered.
	Registerer prometheus.Registerer

	cold bool // the tail begins empty, so that tests read from Postgres
}

// withDefaults fills zero fields and checks the rest.
func (o Options) withDefaults() (Options, error) {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	num := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	if o.PollOnly {
		def(&o.Poll, pollAlone)
	}
	def(&o.Poll, time.Second)
	def(&o.Retention, 168*time.Hour)
	def(&o.Slice, time.Hour)
	def(&o.DedupWindow, 24*time.Hour)
	def(&o.AppendTimeout, 8*time.Second)
	def(&o.SessionIdle, time.Minute)
	num(&o.QueueEvents, 10_000)
	num(&o.QueueBytes, 64<<20)
	num(&o.TailEvents, 50_000)
	num(&o.TailBytes, 64<<20)
	num(&o.MaxConns, 10)
	if o.SliceEvents == 0 {
		o.SliceEvents = 50_000_000
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, o.check()
}

func (o Options) check() error {
	switch {
	case o.DatabaseURL == "" && o.Pool == nil:
		return errors.New("no database: set DatabaseURL, or Pool, whose connection settings are then used")
	case o.DatabaseURL != "" && o.Pool != nil:
		return errors.New("DatabaseURL and Pool are both set: set one of them")
	case o.Slice < time.Second:
		return errors.New("slice must be at least 1s")
	case o.Retention < o.Slice:
		return errors.New("retention must be at least one slice")
	case o.SliceEvents < 1 || o.SliceEvents > log.SliceSize/2:
		return errors.New("slice events must be between 1 and 500 million")
	case o.RetentionEvents < 0:
		return errors.New("retention events must not be negative")
	case o.Poll < time.Millisecond, o.DedupWindow < 0, o.AppendTimeout < 0:
		return errors.New("durations must be positive")
	case o.MaxConns < postgres.LeastConns || o.MaxConns > 10_000:
		return fmt.Errorf("max conns must be between %d and 10000", postgres.LeastConns)
	}
	return nil
}

func (o *Options) pools() postgres.PoolOptions {
	return postgres.PoolOptions{DatabaseURL: o.DatabaseURL, Pool: o.Pool, MaxConns: o.MaxConns, Logger: o.Logger}
}

// listenURL returns "" if the connection that listens is made like the others.
func (o *Options) listenURL() string {
	if o.ListenURL == o.DatabaseURL {
		return ""
	}
	return o.ListenURL
}

// pollAlone is the default of Poll without notifications.
const pollAlone = 100 * time.Millisecond

// waits returns how much may wait for one kind of transaction.
func (o *Options) waits() batch.Load { return batch.Load{Events: o.QueueEvents, Bytes: o.QueueBytes} }

// tryListen finds out whether notifications arrive, unless PollOnly is set. If they do not, it sets PollOnly
// and logs that. asked is the Poll that the caller set.
func (o *Options) tryListen(ctx context.Context, listener *postgres.Listener, asked time.Duration) error {
	if o.PollOnly {
		return nil
	}
	err := listener.Try(ctx)
	switch {
	case err == nil:
	case errors.Is(err, postgres.ErrNoNotifications):
		o.PollOnly = true
		if asked == 0 {
			o.Poll = pollAlone
		}
		o.Logger.Warn("notifications do not arrive, as through a transaction pooler: events of other instances come up to one poll late; "+
			"give a direct connection with --listen-database-url, or add --poll-only", "poll", o.Poll.String())
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		o.Logger.Warn("cannot listen for notifications; trying again, and looking at the database every poll until then",
			"poll", o.Poll.String(), "error", err)
	}
	return nil
}
