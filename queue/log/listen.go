package log

import (
	"context"
	mathrand "math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
)

// channel is the name of the notification channel. Payloads are "staged", "volatile", "registry", or the head
// after an append.
const channel = "culvert"

// listener waits for notifications on one connection, and makes a new one whenever it breaks.
type listener struct {
	o          Options
	follower   *follower
	appender   *appender
	neighbours Neighbours
}

// run is the listener's goroutine.
func (l *listener) run(ctx context.Context) {
	pause := postgres.FirstPause
	for ctx.Err() == nil {
		listening, err := l.listenOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if listening {
			pause = postgres.FirstPause
		}
		l.o.Logger.Debug("not listening", "error", err, "again_in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + mathrand.N(pause)):
		}
		pause = min(2*pause, postgres.MaxPause)
	}
}

// listenSilence is how long a connection may be silent before a ping checks whether it is alive.
const listenSilence = 30 * time.Second

// listenOnce listens on one connection until it fails. listening: LISTEN took effect before it failed.
func (l *listener) listenOnce(ctx context.Context) (listening bool, err error) {
	conn, err := l.o.Listener.Connect(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `LISTEN `+channel); err != nil {
		return false, err
	}
	// Look for what was appended and staged before LISTEN took effect.
	l.follower.lookAt(event.MaxOffset)
	l.appender.announce()
	l.neighbours.Registry()
	for {
		if err := l.hear(ctx, conn); err != nil {
			return true, err
		}
	}
}

// hear handles one notification or checks a silent connection.
func (l *listener) hear(ctx context.Context, conn *pgx.Conn) error {
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
		l.appender.announce()
	case n.Payload == "volatile":
		l.neighbours.Volatile()
	case n.Payload == "registry":
		l.neighbours.Registry()
	case n.PID == l.appender.pid.Load():
		// Our own append: feed puts its events into the tail. This notification often comes before the answer
		// of the append.
	default:
		if head, err := strconv.ParseInt(n.Payload, 10, 64); err == nil {
			l.follower.lookAt(event.Offset(head))
		}
	}
	return nil
}
