package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// Hooks are what an application does around each connection it makes, as in pgxpool.Config: BeforeConnect often
// sets a password that is valid for minutes, AfterConnect often runs SET ROLE. Either may be nil.
type Hooks struct {
	BeforeConnect func(context.Context, *pgx.ConnConfig) error
	AfterConnect  func(context.Context, *pgx.Conn) error
}

// Connect makes a single connection, as a pool with these hooks would.
func (h Hooks) Connect(ctx context.Context, c *pgx.ConnConfig) (*pgx.Conn, error) {
	conn, err := h.dial(ctx, c)
	if err != nil {
		return nil, err
	}
	return conn, h.greet(ctx, conn)
}

// dial connects with BeforeConnect. It does not change c.
func (h Hooks) dial(ctx context.Context, c *pgx.ConnConfig) (*pgx.Conn, error) {
	if h.BeforeConnect != nil {
		c = c.Copy()
		if err := h.BeforeConnect(ctx, c); err != nil {
			return nil, err
		}
	}
	return pgx.ConnectConfig(ctx, c)
}

// greet calls AfterConnect, and closes the connection if that fails.
func (h Hooks) greet(ctx context.Context, conn *pgx.Conn) error {
	if h.AfterConnect == nil {
		return nil
	}
	err := h.AfterConnect(ctx, conn)
	if err != nil {
		return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	}
	return nil
}

// Verified returns an AfterConnect that also checks the settings of the session: see Verify.
func (h Hooks) Verified() func(context.Context, *pgx.Conn) error {
	if h.AfterConnect == nil {
		return Verify
	}
	return func(ctx context.Context, conn *pgx.Conn) error {
		if err := h.AfterConnect(ctx, conn); err != nil {
			return err
		}
		return Verify(ctx, conn)
	}
}
