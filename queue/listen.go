package queue

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// channel carries "staged", "volatile", "registry", or the head after an append.
const channel = "culvert"

// listen is a goroutine of its own: one connection that waits for
// notifications, made again whenever it breaks.
func (f *follower) listen(ctx context.Context) {
	if f.q.o.PollOnly {
		return
	}
	pause := firstPause
	for ctx.Err() == nil {
		heard, err := f.listenOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if heard {
			pause = firstPause
		}
		f.q.o.Logger.Debug("not listening", "error", err, "again_in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, maxPause)
	}
}

const (
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
	// A connection that says nothing for so long is asked whether it is alive.
	listenSilence = 30 * time.Second
	readTimeout   = 15 * time.Second
)

// listenOnce holds one connection until it fails. heard: it worked for a while.
func (f *follower) listenOnce(ctx context.Context) (heard bool, err error) {
	c, err := pgx.ParseConfig(f.q.o.ListenURL)
	if err != nil {
		return false, err
	}
	tuneConn(c, f.q.o.Logger)
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return false, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `LISTEN `+channel); err != nil {
		return false, err
	}
	// What was appended and staged before LISTEN took effect.
	f.lookAt(MaxOffset)
	f.q.appender.announce()
	notify(f.q.Registry.wake)
	for {
		if err := f.hear(ctx, conn); err != nil {
			return true, err
		}
	}
}

// hear handles one notification or checks a silent connection.
func (f *follower) hear(ctx context.Context, conn *pgx.Conn) error {
	wait, cancel := context.WithTimeout(ctx, listenSilence)
	defer cancel()
	n, err := conn.WaitForNotification(wait)
	switch {
	case err != nil && wait.Err() != nil && ctx.Err() == nil:
		check, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return conn.Ping(check)
	case err != nil:
		return err
	case n.Payload == "staged":
		f.q.appender.announce()
	case n.Payload == "volatile":
		notify(f.q.volatile.heard)
	case n.Payload == "registry":
		notify(f.q.Registry.wake)
	case n.PID == f.q.appender.pid.Load():
		// Our own append. Its events are fed to the tail as they are, and this
		// often comes sooner than the answer they wait for.
	default:
		if head, err := strconv.ParseInt(n.Payload, 10, 64); err == nil {
			f.lookAt(Offset(head))
		}
	}
	return nil
}
