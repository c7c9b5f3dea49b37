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
	// Pool is the application's own pool on the database, instead of DatabaseURL. Culvert takes
	// from it how to connect: its ConnConfig, BeforeConnect and AfterConnect, and how long
	// connections may last. It makes connections of its own in that way, MaxConns at most, whose
	// application_name is culvert. It takes none out of Pool and never closes it: whatever the
	// application does with its connections, neither waits for the other's. Postgres sees
	// MaxConns beside what Pool may have.
	Pool *pgxpool.Pool
	// ListenURL is a direct DSN for LISTEN where DatabaseURL or Pool leads through a
	// transaction pooler. Empty: as the other connections.
	ListenURL string
	// PollOnly turns LISTEN off; the head is then polled every Poll. So it is where
	// notifications turn out not to arrive.
	PollOnly bool
	// Poll is how often the head is looked at without a notification: 1s with
	// LISTEN, where it only covers lost notifications, 100ms with PollOnly.
	Poll time.Duration
	// Retention is how long events are kept at least: 168h. They go slice by
	// slice, so at most Retention + Slice.
	Retention time.Duration
	// RetentionEvents drops the oldest slices once more events than this are
	// kept; 0 keeps any number.
	RetentionEvents int64
	// Slice is the retention grain: 1h.
	Slice time.Duration
	// SliceEvents closes a slice early once it holds this many: 50 million.
	SliceEvents int64
	// DedupWindow is how long idempotency keys are remembered: 24h.
	DedupWindow time.Duration
	// QueueEvents and QueueBytes bound the emits waiting for a commit: 10,000
	// and 64 MiB. Beyond, Append fails with ErrOverloaded.
	QueueEvents int
	QueueBytes  int
	// TailEvents and TailBytes bound the recent events kept in memory: 50,000
	// and 64 MiB.
	TailEvents int
	TailBytes  int
	// AppendTimeout is how long one append may take before its emits are
	// answered with ErrUnavailable: 8s.
	AppendTimeout time.Duration
	// MaxConns bounds the connections to Postgres, the one that listens included: 10,
	// and 5 at least. Those of Pool are the application's and count for nothing here.
	MaxConns int
	// Logger: slog.Default.
	Logger *slog.Logger
	// Registerer receives the metrics; nil keeps none.
	Registerer prometheus.Registerer
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
		return errors.New("no database: set DatabaseURL, or Pool to connect as a pool of the application does")
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

// listenURL is empty where the connection that listens is made like the others.
func (o *Options) listenURL() string {
	if o.ListenURL == o.DatabaseURL {
		return ""
	}
	return o.ListenURL
}

// pollAlone is how often the head is looked at where no notification tells of it.
const pollAlone = 100 * time.Millisecond

// waits is what may wait for one kind of transaction.
func (o *Options) waits() batch.Load { return batch.Load{Events: o.QueueEvents, Bytes: o.QueueBytes} }

// tryListen finds out whether notifications arrive where LISTEN is to be used. Where they
// do not, the queue polls, as with PollOnly, and says so. asked is the Poll of the caller.
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
			"give a direct connection with --listen-database-url, or say --poll-only", "poll", o.Poll.String())
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		o.Logger.Warn("cannot listen for notifications; trying again, and looking at the database every poll until then",
			"poll", o.Poll.String(), "error", err)
	}
	return nil
}
