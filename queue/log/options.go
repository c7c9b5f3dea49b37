package log

import (
	"context"
	"log/slog"
	"time"

	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/queue/tail"
)

// Options configure a Log. All but Listener must be set.
type Options struct {
	DB      *postgres.Pools
	Lineage *lineage.Keeper
	// Tail gets all events, whichever instance stored them.
	Tail    *tail.Tail
	Metrics *Metrics
	Faults  *Faults
	Logger  *slog.Logger
	// Listener waits for notifications. If it is nil, the log is read every Poll.
	Listener *postgres.Listener
	Poll     time.Duration
	// Waiting bounds the emits that wait, and likewise the membership changes.
	Waiting batch.Load
	// AppendTimeout is how long one append may take before its emits fail.
	AppendTimeout time.Duration
	// Retention: see queue.Options.
	Retention       time.Duration
	RetentionEvents int64
	Slice           time.Duration
	SliceEvents     int64
}

// Neighbours are functions that the log calls for other packages. Registry and Volatile must not block.
type Neighbours struct {
	Registry func() // operators changed something
	Volatile func() // an instance has published volatile events
	// Sweep deletes what deleted namespaces have left. Retention calls it, and it may take long.
	Sweep func(context.Context) error
}
