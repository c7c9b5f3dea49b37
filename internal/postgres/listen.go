package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Listener makes the connection that waits for notifications. Only one goroutine at a time may use it.
type Listener struct {
	url   string // empty: as the pools connect
	pools *Pools
	log   *slog.Logger

	config *pgx.ConnConfig // nil: not prepared yet
	hooks  Hooks
}

// NewListener returns a listener that connects to url, or, if that is empty, as the pools do. The error says
// that the URL cannot be read.
func NewListener(url string, pools *Pools, log *slog.Logger) (*Listener, error) {
	if url != "" {
		if _, err := pgx.ParseConfig(url); err != nil {
			return nil, fmt.Errorf("listen URL: %w", err)
		}
	}
	return &Listener{url: url, pools: pools, log: log}, nil
}

// prepare finds out which server answers.
func (l *Listener) prepare(ctx context.Context) (Server, error) {
	if l.url == "" {
		l.config, l.hooks = l.pools.Write.Config().ConnConfig, l.pools.hooks
		return l.pools.Server, nil
	}
	c, err := pgx.ParseConfig(l.url)
	if err != nil {
		return Server{}, err
	}
	tuneConn(c, l.log)
	server, err := Prepare(ctx, c)
	if err != nil {
		return server, err
	}
	l.config = c
	return server, nil
}

// Try finds out whether notifications arrive. Errors: ErrNoNotifications, or why it could not find out.
func (l *Listener) Try(ctx context.Context) error {
	server, err := l.prepare(ctx)
	if err == nil && server.Transactions {
		err = ErrNoNotifications
	}
	if err != nil {
		return err
	}
	conn, err := l.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return TryListen(ctx, conn, "culvert_"+strings.ToLower(rand.Text()))
}

// Connect makes a connection, which the caller closes.
func (l *Listener) Connect(ctx context.Context) (*pgx.Conn, error) {
	if l.config == nil {
		if _, err := l.prepare(ctx); err != nil {
			return nil, err
		}
	}
	return l.hooks.Connect(ctx, l.config)
}
