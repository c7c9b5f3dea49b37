package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// MinMajor is the oldest PostgreSQL Culvert's SQL runs on.
const MinMajor = 14

// ErrUnfit means that the server cannot keep the log.
var ErrUnfit = fmt.Errorf("Culvert needs PostgreSQL %d or newer", MinMajor) //nolint:staticcheck // a name begins it

// Server is what Prepare found out about the server.
type Server struct {
	Major          int
	MaxConnections int // of the server
	// Transactions: the URL leads through a pooler that gives each transaction a
	// session of its own, so that no state of a session can be relied on: prepared
	// statements, LISTEN, session locks.
	Transactions bool

	lazy bool // commits do not wait for the disk
}

// Prepare connects once to look at the server, and completes the configuration for all
// later connections. It returns an error that says what to do if the server cannot keep the log, or
// has settings that Culvert can neither change nor accept.
func Prepare(ctx context.Context, c *pgx.ConnConfig) (Server, error) {
	return PrepareWith(ctx, c, Hooks{})
}

// PrepareWith is Prepare for connections that are made with an application's hooks.
func PrepareWith(ctx context.Context, c *pgx.ConnConfig, hooks Hooks) (Server, error) {
	given := c.RuntimeParams
	conn, pinned, err := connect(ctx, c, hooks, given, 0)
	if err != nil {
		return Server{}, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	server, err := identify(ctx, conn)
	if pinned && (tooShort(err) || err == nil && server.Major >= transactionTimeout) {
		// This version has transaction_timeout, which is still in force: it may end the session
		// at any moment, also before its settings can be read.
		_ = conn.Close(ctx)
		again, _, failed := connect(ctx, c, hooks, given, transactionTimeout)
		if failed != nil {
			return Server{}, failed
		}
		conn = again
		server, err = identify(ctx, conn)
	}
	if err != nil {
		return Server{}, named(err, c)
	}
	if pinned {
		complete(c, server)
	}
	// Another connection, now with all settings that can be set.
	two, err := hooks.Connect(ctx, c)
	if err != nil {
		return Server{}, err
	}
	defer two.Close(context.WithoutCancel(ctx))
	if err := Verify(ctx, two); err != nil {
		return Server{}, err
	}
	if server.Transactions, err = sharesSessions(ctx, conn, two); err != nil {
		return Server{}, err
	}
	// Named statements are lost behind such a pooler, unless the URL names a mode.
	if server.Transactions && c.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement &&
		!strings.Contains(c.ConnString(), "default_query_exec_mode") {
		c.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	return server, nil
}

// connect asks for all settings, and for fewer if these are refused.
func connect(ctx context.Context, c *pgx.ConnConfig, hooks Hooks, given map[string]string, major int) (conn *pgx.Conn, pinned bool, err error) {
	all := startupParameters(major, false)
	for _, parameters := range []map[string]string{all, startupParameters(major, true), nil} {
		c.RuntimeParams = merged(parameters, given)
		conn, err = hooks.dial(ctx, c)
		var pg *pgconn.PgError
		if err == nil {
			return conn, len(parameters) == len(all), hooks.greet(ctx, conn)
		}
		if !errors.As(err, &pg) || !refusedParameters(pg) {
			return nil, false, err
		}
	}
	return nil, false, err
}

// merged returns ours, except for settings that the URL names itself.
func merged(ours, given map[string]string) map[string]string {
	all := map[string]string{}
	for name, value := range ours {
		all[strings.ToLower(name)] = value
	}
	for name, value := range given {
		all[strings.ToLower(name)] = value
	}
	return all
}

// complete adds the settings that depend on the server.
func complete(c *pgx.ConnConfig, server Server) {
	c.RuntimeParams = merged(startupParameters(server.Major, false), c.RuntimeParams)
	if server.lazy {
		c.RuntimeParams["synchronous_commit"] = "on"
	}
}

// identify asks for the server's version and settings, and refuses servers that cannot keep the log.
func identify(ctx context.Context, conn *pgx.Conn) (s Server, err error) {
	results, err := unhurried(ctx, conn, `SELECT version(), current_setting('max_connections'), current_setting('synchronous_commit')`)
	if err != nil {
		return s, fmt.Errorf("ask for the server's version: %w", err)
	}
	row := results[2].Rows[0]
	s.MaxConnections, _ = strconv.Atoi(string(row[1])) // it is only for messages
	s.lazy = string(row[2]) == "off"
	s.Major, err = checkVersion(string(row[0]))
	return s, err
}

var versionPattern = regexp.MustCompile(`^PostgreSQL (\d+)`)

const notLocking = "lacks PostgreSQL's table locks and notifications, so it cannot keep events in order"

// unfit lists servers that speak PostgreSQL's protocol, and what they lack.
var unfit = []struct{ mark, lacks string }{
	{"CockroachDB", "has no LOCK TABLE, so it cannot keep events in order"},
	{"-YB-", "(YugabyteDB) has neither NOTIFY nor snapshots that tell which transactions are over, so that events would be skipped"},
	{"Greenplum", notLocking},
	{"Materialize", notLocking},
	{"Redshift", notLocking},
	{"CrateDB", "has no transactions"},
}

// checkVersion takes the text of version() and returns the major version.
func checkVersion(text string) (int, error) {
	for _, u := range unfit {
		if strings.Contains(text, u.mark) {
			return 0, fmt.Errorf("%w: the server is %q, which %s", ErrUnfit, brief(text), u.lacks)
		}
	}
	m := versionPattern.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%w: the server is %q, which is not PostgreSQL", ErrUnfit, brief(text))
	}
	major, err := strconv.Atoi(m[1])
	if err != nil || major < MinMajor {
		return 0, fmt.Errorf("%w: the server is %q, which is older", ErrUnfit, brief(text))
	}
	return major, nil
}

// brief returns the version without the compiler.
func brief(version string) string {
	version, _, _ = strings.Cut(version, ", compiled")
	return version[:min(len(version), 100)]
}
