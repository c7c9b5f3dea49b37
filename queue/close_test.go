package queue_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// Close returns when its context ends, even if Postgres does not answer.
func TestCloseGivesUpOnAPostgresThatHangs(t *testing.T) {
	dsn := pgtest.Database(t)
	through, wire := proxy(t, dsn)
	o := queue.Options{DatabaseURL: through, Logger: slog.New(slog.DiscardHandler)}
	q, err := queue.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	wire.Lock()
	defer wire.Unlock()
	answered := make(chan error, 1)
	go func() {
		_, err := q.Append(context.Background(), []event.Emit{emit("r", "1")})
		answered <- err
	}()
	until(t, "the emit is on its way or refused", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		return q.Ping(ctx) != nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- q.Close(ctx) }()
	select {
	case err := <-closed:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("close still waits")
	}
	if err := <-answered; err == nil {
		t.Error("an emit is confirmed that Postgres has not confirmed")
	}
}

// proxy forwards to the Postgres of a DSN; while wire is locked, nothing comes through.
func proxy(t *testing.T, dsn string) (through string, wire *sync.RWMutex) {
	t.Helper()
	config := connect(t, dsn).Config()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	wire = &sync.RWMutex{}
	var copies sync.WaitGroup
	pass := func(to, from net.Conn) {
		defer to.Close()
		_, _ = io.Copy(gate{Conn: to, wire: wire}, from)
	}
	copies.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", filepath.Join(config.Host, ".s.PGSQL.5432"))
			if err != nil {
				in.Close()
				continue
			}
			copies.Go(func() { pass(out, in) })
			copies.Go(func() { pass(in, out) })
		}
	})
	t.Cleanup(func() { l.Close(); copies.Wait() })
	return "host=" + dir + " port=5432 user=" + config.User + " dbname=" + config.Database, wire
}

// gate writes while the wire is open.
type gate struct {
	net.Conn
	wire *sync.RWMutex
}

func (g gate) Write(p []byte) (int, error) {
	g.wire.RLock()
	defer g.wire.RUnlock()
	return g.Conn.Write(p)
}
