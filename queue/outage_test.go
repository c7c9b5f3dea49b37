package queue_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// What Postgres refuses, for example because of a full disk, is logged, once.
func TestRefusalsAreLoggedOnce(t *testing.T) {
	dsn := pgtest.Database(t)
	var logged lines
	q := open(t, dsn, func(o *queue.Options) {
		o.Logger = slog.New(slog.NewTextHandler(&logged, nil))
		o.AppendTimeout = 100 * time.Millisecond
	})
	for what, try := range map[string]struct {
		lock string
		call func() error
	}{
		"emits": {`LOCK TABLE culvert.append_lock IN SHARE UPDATE EXCLUSIVE MODE`, func() error {
			_, err := q.Append(t.Context(), []event.Emit{emit("r", "1")})
			return err
		}},
		"acknowledgements": {`LOCK TABLE culvert.clients`, func() error {
			_, err := q.Ack(t.Context(), ns, client("bob"), q.Head())
			return err
		}},
	} {
		conn := connect(t, dsn)
		if _, err := conn.Exec(t.Context(), `BEGIN; `+try.lock); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := try.call(); !errors.Is(err, event.ErrUnavailable) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := conn.Exec(t.Context(), `COMMIT`); err != nil {
			t.Fatal(err)
		}
		until(t, what+" are taken again", func() bool { return try.call() == nil })
		for _, line := range []string{what + " are refused", what + " are stored again"} {
			if n := strings.Count(logged.String(), line); n != 1 {
				t.Errorf("%q is %d times in\n%s", line, n, logged.String())
			}
		}
	}
}

// lines is a log that may be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// An alert on failed appends must also see those that fail before the append
// itself, as with a full disk and a new room.
func TestAppendsThatFailEarlyAreCounted(t *testing.T) {
	dsn := pgtest.Database(t)
	registry := prometheus.NewRegistry()
	q := open(t, dsn, func(o *queue.Options) {
		o.Registerer = registry
		o.Logger = slog.New(slog.DiscardHandler)
		o.AppendTimeout = 100 * time.Millisecond
	})
	conn := connect(t, dsn)
	if _, err := conn.Exec(t.Context(), `BEGIN; LOCK TABLE culvert.rooms, culvert.namespaces`); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Append(t.Context(), []event.Emit{emit("new", "1")}); !errors.Is(err, event.ErrUnavailable) {
		t.Error(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Append(t.Context(), []event.Emit{{Namespace: mustParse(event.ParseNamespace, "new"), Event: greeting}}); !errors.Is(err, event.ErrUnavailable) {
		t.Errorf("new namespace: %v", err)
	}
	if _, err := q.Ack(t.Context(), mustParse(event.ParseNamespace, "new"), client("bob"), q.Head()); !errors.Is(err, event.ErrUnavailable) {
		t.Errorf("ack in a new namespace: %v", err)
	}
	for _, f := range families {
		if f.GetName() == "culvert_append_errors_total" && f.GetMetric()[0].GetCounter().GetValue() != 1 {
			t.Errorf("got %v", f)
		}
	}
	if _, err := conn.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
}

// A queue that is closed while it starts logs nothing about Postgres, which refused nothing.
func TestClosingIsNoOutage(t *testing.T) {
	dsn := pgtest.Database(t)
	var logged lines
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		q, err := queue.Open(t.Context(), queue.Options{DatabaseURL: dsn, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		if err != nil {
			t.Fatal(err)
		}
		_ = q.Close(over) // waits for nothing, as after a failed start
	}
	if logged.String() != "" {
		t.Error(logged.String())
	}
}
