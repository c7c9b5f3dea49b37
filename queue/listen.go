package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
)

// channel carries "staged", "volatile", "registry", or the head after an append.
const channel = "culvert"

// listen is a goroutine of its own: one connection that waits for
// notifications, made again whenever it breaks.
func (f *follower) listen(ctx context.Context) {
	if f.q.o.PollOnly {
		return
	}
	pause := postgres.FirstPause
	for ctx.Err() == nil {
		heard, err := f.listenOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if heard {
			pause = postgres.FirstPause
		}
		f.q.o.Logger.Debug("not listening", "error", err, "again_in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + mathrand.N(pause)):
		}
		pause = min(2*pause, postgres.MaxPause)
	}
}

// A connection that says nothing for so long is asked whether it is alive.
const listenSilence = 30 * time.Second

// tryListen finds out whether notifications arrive where LISTEN is to be used. Where they
// do not, the queue polls, as with PollOnly, and says so. asked is the Poll of the caller.
func (o *Options) tryListen(ctx context.Context, db *pools, asked time.Duration) error {
	if o.PollOnly {
		return nil
	}
	if o.ListenURL != o.DatabaseURL {
		if _, err := pgx.ParseConfig(o.ListenURL); err != nil {
			return fmt.Errorf("listen URL: %w", err)
		}
	}
	c, server, err := prepareListen(ctx, *o, *db)
	if err == nil && server.Transactions {
		err = postgres.ErrNoNotifications
	}
	if err == nil {
		err = listensTo(ctx, c)
	}
	switch {
	case err == nil:
		db.listen = &c
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

// listenTarget is how the connection that listens is made.
type listenTarget struct {
	config *pgx.ConnConfig
	hooks  postgres.Hooks
}

func (l listenTarget) connect(ctx context.Context) (*pgx.Conn, error) {
	return l.hooks.Connect(ctx, l.config)
}

func prepareListen(ctx context.Context, o Options, db pools) (listenTarget, postgres.Server, error) {
	if o.ListenURL == o.DatabaseURL { // both are empty with Pool
		return listenTarget{db.write.Config().ConnConfig, db.hooks}, db.server, nil
	}
	c, err := pgx.ParseConfig(o.ListenURL)
	if err != nil {
		return listenTarget{}, postgres.Server{}, err
	}
	tuneConn(c, o.Logger)
	server, err := postgres.Prepare(ctx, c)
	return listenTarget{config: c}, server, err
}

func listensTo(ctx context.Context, l listenTarget) error {
	conn, err := l.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return postgres.TryListen(ctx, conn, channel+"_"+strings.ToLower(rand.Text()))
}

// listenOnce holds one connection until it fails. heard: it worked for a while.
func (f *follower) listenOnce(ctx context.Context) (heard bool, err error) {
	target := f.q.db.listen
	if target == nil { // it could not be prepared when the queue was opened
		prepared, _, err := prepareListen(ctx, f.q.o, f.q.db)
		if err != nil {
			return false, err
		}
		target = &prepared
	}
	conn, err := target.connect(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `LISTEN `+channel); err != nil {
		return false, err
	}
	// What was appended and staged before LISTEN took effect.
	f.lookAt(event.MaxOffset)
	f.q.appender.announce()
	f.q.registry.RefreshSoon()
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
		f.q.registry.RefreshSoon()
	case n.PID == f.q.appender.pid.Load():
		// Our own append. Its events are fed to the tail as they are, and this
		// often comes sooner than the answer they wait for.
	default:
		if head, err := strconv.ParseInt(n.Payload, 10, 64); err == nil {
			f.lookAt(event.Offset(head))
		}
	}
	return nil
}
