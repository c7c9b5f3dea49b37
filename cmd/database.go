package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/culvertmq/culvert/cmd/config"
	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/migrations"
)

// databasePatience is how long serve waits at its start for a Postgres that does not answer: the containers of
// a composition start at the same time.
const databasePatience = 30 * time.Second

// startPostgres runs the private Postgres if no other one is configured, and sets its DSN in cfg. Otherwise it
// returns nil.
func (p *process) startPostgres(ctx context.Context, cfg *config.Config, log *slog.Logger) (*localpg.Server, error) {
	if cfg.DatabaseURL != "" {
		return nil, nil
	}
	if err := config.MakeDataFolder(cfg.Data); err != nil {
		return nil, err
	}
	server, err := localpg.Start(ctx, localpg.Options{
		Dir:      filepath.Join(cfg.Data, config.PostgresDir),
		Log:      log,
		Progress: func(text string) { fmt.Fprintf(p.stderr, "culvert: %s\n", text) },
	})
	if err != nil {
		return nil, err
	}
	cfg.DatabaseURL = server.DSN()
	fmt.Fprintf(p.stderr, "culvert: no database is configured, so a private Postgres runs in %s\n"+
		"         connect to it with: psql '%s'\n", cfg.Data, server.DSN())
	return server, nil
}

// keepPostgres restarts the private Postgres whenever it ends by itself, until ctx ends. Meanwhile streams stay
// open and emits are answered with 503, which is better for clients than if the server exited.
func keepPostgres(ctx context.Context, server *localpg.Server, log *slog.Logger) {
	wait := backoff{base: 250 * time.Millisecond, limit: 30 * time.Second}
	for {
		started := time.Now()
		select {
		case <-ctx.Done():
			return
		case <-server.Done():
		}
		if ctx.Err() != nil {
			return
		}
		log.Error("the private Postgres ended; starting it again", "error", server.Err())
		if time.Since(started) > time.Minute {
			wait.reset()
		}
		for {
			wait.wait(ctx, 0)
			if ctx.Err() != nil {
				return
			}
			err := server.StartAgain(ctx)
			if err == nil {
				log.Info("the private Postgres runs again")
				break
			}
			log.Error("the private Postgres does not start", "error", err)
		}
	}
}

// prepareDatabase waits for Postgres and brings its schema up to date.
func (p *process) prepareDatabase(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	states, err := p.awaitDatabase(ctx, cfg)
	if err != nil {
		return err
	}
	pending := slices.ContainsFunc(states, func(s migrations.State) bool { return s.Applied.IsZero() })
	switch {
	case !pending:
		return nil
	case !cfg.Migrate:
		return errors.New("the database's schema is not up to date and --migrate is off: run 'culvert migrate up' first")
	}
	if err := migrations.Up(ctx, cfg.DirectURL()); err != nil {
		return fmt.Errorf("the database's schema could not be brought up to date: %w", hinted(err))
	}
	log.Info("database schema brought up to date")
	return nil
}

// awaitDatabase asks Postgres for the state of its schema until it answers.
func (p *process) awaitDatabase(ctx context.Context, cfg *config.Config) ([]migrations.State, error) {
	ctx, cancel := context.WithTimeout(ctx, databasePatience)
	defer cancel()
	pause := backoff{base: 250 * time.Millisecond, limit: 2 * time.Second}
	var last error
	for {
		attempt, done := context.WithTimeout(ctx, 10*time.Second)
		states, err := migrations.Status(attempt, cfg.DirectURL())
		done()
		if err == nil {
			return states, nil
		}
		if ctx.Err() == nil && !unreachable(err) {
			return nil, fmt.Errorf("cannot use the database %s: %w", config.MaskDSN(cfg.DirectURL()), hinted(err))
		}
		if last == nil && ctx.Err() == nil {
			fmt.Fprintf(p.stderr, "culvert: the database does not answer yet, waiting up to %v: %v\n", databasePatience, oneLine(err))
		}
		if last == nil || ctx.Err() == nil { // not the error of our own timeout, which explains nothing
			last = err
		}
		pause.wait(ctx, 0)
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, ctx.Err()
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("the database %s did not answer within %v: %w; is it running, and is --database-url right?",
				config.MaskDSN(cfg.DirectURL()), databasePatience, hinted(last))
		}
	}
}

// unreachable reports whether an error may pass with time: nothing listens at the address yet, or Postgres is
// starting or has no connection left.
func unreachable(err error) bool {
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		code := state.SQLState()
		return code == "57P03" || code == "53300" || strings.HasPrefix(code, "08")
	}
	var network net.Error // also a *net.DNSError, *net.OpError and a deadline
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// hinted returns an error in one line, with a hint where the text of Postgres has none. Behind a transaction
// pooler prepared statements fail: the connection may have those of another session, and lack its own.
func hinted(err error) error {
	var state interface{ SQLState() string }
	if !errors.As(err, &state) {
		return oneLine(err)
	}
	switch state.SQLState() {
	case "42P05", "26000":
		return fmt.Errorf("%w; the database seems to be behind a transaction pooler: add default_query_exec_mode=exec to --database-url "+
			"and give a direct connection with --listen-database-url", oneLine(err))
	case "53300":
		return fmt.Errorf("%w; Postgres has no connection left: raise its max_connections, or lower --max-connections of the instances", oneLine(err))
	}
	return oneLine(err)
}

// oneLine puts an error that a driver spread over several lines into one line.
func oneLine(err error) error {
	return flatError{err}
}

type flatError struct{ error }

func (e flatError) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }
func (e flatError) Unwrap() error { return e.error }

// backoff waits longer each time: at most base at first, then twice as long, up to limit. Each wait is a random
// part of that (full jitter), so that the many clients of a server do not try again at the same moment.
type backoff struct {
	base, limit time.Duration
	tries       int
}

// next returns the length of the next wait, at least atLeast.
func (b *backoff) next(atLeast time.Duration) time.Duration {
	bound := min(b.base<<min(b.tries, 16), b.limit)
	b.tries++
	return max(atLeast, time.Duration(rand.Int64N(int64(bound))+1))
}

// wait waits for the next time, or until ctx ends.
func (b *backoff) wait(ctx context.Context, atLeast time.Duration) {
	pause(ctx, b.next(atLeast))
}

// reset begins again with the shortest wait. Call it after a success.
func (b *backoff) reset() { b.tries = 0 }

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// settingFlags returns only those flags that are settings of the server: a command may have another flag with
// the same name.
func settingFlags(all *pflag.FlagSet) *pflag.FlagSet {
	set := pflag.NewFlagSet("settings", pflag.ContinueOnError)
	all.VisitAll(func(f *pflag.Flag) {
		if _, ok := f.Value.(*config.FlagText); ok {
			set.AddFlag(f)
		}
	})
	return set
}

// databaseConfig reads the configuration of a command that needs a database.
func (p *process) databaseConfig(c *cobra.Command) (*config.Loaded, error) {
	cfg, err := config.Load(settingFlags(c.Flags()), p.environ)
	if err != nil {
		return nil, err
	}
	if cfg.DirectURL() == "" {
		return nil, errors.New("no database is named: give --database-url or DATABASE_URL; 'culvert serve' logs the URL of its private Postgres")
	}
	return cfg, nil
}

// answeringDatabase waits until the database that a command works on answers, and returns its URL.
func (p *process) answeringDatabase(c *cobra.Command) (string, error) {
	cfg, err := p.databaseConfig(c)
	if err != nil {
		return "", err
	}
	if _, err := p.awaitDatabase(c.Context(), &cfg.Config); err != nil {
		return "", err
	}
	return cfg.DirectURL(), nil
}
