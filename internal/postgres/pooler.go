package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// looks is how often sharesSessions looks. A busy pooler may give the process that it has just got back to
// somebody else, which hides the pooler: 3 looks missed it once in some hundred starts. Each look is four round
// trips.
const looks = 12

// sharesSessions reports whether a pooler gives each transaction a session of its own. It does if two
// connections that are open at once run on the same server process, or if one connection runs on two processes.
func sharesSessions(ctx context.Context, one, two *pgx.Conn) (shared bool, err error) {
	for range looks {
		first, err := process(ctx, one, "")
		if err != nil {
			return false, err
		}
		// In a transaction, for which the pooler reserves the process.
		second, err := process(ctx, two, "BEGIN;")
		if err != nil {
			return false, err
		}
		if first == second {
			return true, nil
		}
		wait, cancel := context.WithTimeout(ctx, 2*time.Second)
		again, err := process(wait, one, "")
		cancel()
		switch {
		case err != nil && ctx.Err() == nil && wait.Err() != nil:
			return true, nil // the pooler has no other process to give
		case err != nil:
			return false, err
		case again != first:
			return true, nil
		}
		if _, err := two.PgConn().Exec(ctx, "ROLLBACK").ReadAll(); err != nil {
			return false, err
		}
	}
	return false, nil
}

// process returns the number of the server process that a statement runs in.
func process(ctx context.Context, conn *pgx.Conn, before string) (string, error) {
	results, err := conn.PgConn().Exec(ctx, before+"SELECT pg_backend_pid()").ReadAll()
	if err != nil {
		return "", fmt.Errorf("look for a pooler: %w", named(err, conn.Config()))
	}
	return string(results[len(results)-1].Rows[0][0]), nil
}

// notificationPatience is how long a connection's notification to itself may take.
const notificationPatience = 5 * time.Second

// ErrNoNotifications says that a connection accepts LISTEN but gets no notifications.
var ErrNoNotifications = errors.New("notifications do not arrive on this connection")

// TryListen makes a connection notify itself. Errors: ErrNoNotifications, or that of the connection.
func TryListen(ctx context.Context, conn *pgx.Conn, channel string) error {
	if _, err := conn.PgConn().Exec(ctx, "LISTEN "+channel+"; NOTIFY "+channel).ReadAll(); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, notificationPatience)
	defer cancel()
	_, err := conn.WaitForNotification(wait)
	if err != nil && ctx.Err() == nil && wait.Err() != nil {
		return ErrNoNotifications
	}
	return err
}
