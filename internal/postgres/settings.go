package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// setting is one setting of a session that Culvert sets or checks, because
// ALTER ROLE, ALTER DATABASE or the server's configuration may have given it any value.
type setting struct {
	name string
	// value is what the connection asks for when it starts; "": only a superuser may set it.
	value string
	// pooled means that transaction poolers keep it for each of their clients.
	pooled bool
	// since is the major version that introduced it.
	since int
	// fits reports whether Culvert can work with a value, as pg_settings shows it, if its
	// own value could not be set. nil: it can work with any value, at some cost of time.
	fits func(string) bool
	// cure is the value to recommend if it is not `value`.
	cure string
}

// transactionTimeout is the major version that introduced the setting transaction_timeout.
const transactionTimeout = 17

// settings lists all of them. Other settings do not matter: the SQL of functions
// qualifies names, and functions set the planner settings that they depend on.
var settings = []setting{
	// The formats of values: pgx reads only these.
	{name: "client_encoding", value: "UTF8", pooled: true, fits: is("UTF8")},
	{name: "DateStyle", value: "ISO, MDY", pooled: true, fits: isoDates},
	{name: "TimeZone", value: "UTC", pooled: true},
	{name: "standard_conforming_strings", value: "on", pooled: true, fits: is("on")},
	{name: "IntervalStyle", value: "postgres", fits: is("postgres")},
	{name: "bytea_output", value: "hex", fits: is("hex")},
	{name: "extra_float_digits", value: "1", fits: atLeast(0)},
	{name: "array_nulls", value: "on", fits: is("on")},

	// The isolation of transactions: each append must see the one before it.
	{name: "default_transaction_isolation", value: "read committed", fits: is("read committed")},
	{name: "default_transaction_read_only", value: "off", fits: is("off")},
	{name: "default_transaction_deferrable", value: "off"},
	// Foreign keys must work: they delete what belongs to a deleted client.
	{name: "session_replication_role", fits: is("origin"), cure: "origin"},
	// Prepare asks for it only if commits would not wait for the disk.
	{name: "synchronous_commit", fits: isNot("off"), cure: "on"},

	// How long things may take: Culvert has its own deadlines.
	{name: "statement_timeout", value: "0", fits: noneOrSeconds},
	{name: "lock_timeout", value: "0", fits: noneOrSeconds},
	{name: "transaction_timeout", value: "0", fits: noneOrSeconds, since: transactionTimeout},
	{name: "idle_session_timeout", value: "0"},
	// An instance that hangs in a transaction must lose its locks.
	{name: "idle_in_transaction_session_timeout", value: "30000", fits: noneOrSeconds},

	// Names in SQL must not depend on other schemas.
	{name: "search_path", value: "pg_catalog"},
	// An error must end a statement, not the session; warnings report dropped events.
	{name: "exit_on_error", value: "off", fits: is("off")},
	{name: "client_min_messages", value: "warning"},
	{name: "row_security", value: "on"},

	// Plans must be made for short scans of indexes.
	{name: "plan_cache_mode", value: "auto"},
	{name: "jit", value: "off"},
	{name: "enable_indexscan", value: "on"},
	{name: "enable_indexonlyscan", value: "on"},
	{name: "enable_nestloop", value: "on"},
	{name: "enable_partition_pruning", value: "on"},
}

func is(want string) func(string) bool { return func(v string) bool { return v == want } }

func isNot(bad string) func(string) bool { return func(v string) bool { return v != bad } }

func atLeast(least int) func(string) bool {
	return func(v string) bool {
		n, err := strconv.Atoi(v)
		return err == nil && n >= least
	}
}

func isoDates(v string) bool { return strings.HasPrefix(v, "ISO") }

// noneOrSeconds accepts 0 (no timeout) and timeouts, in milliseconds, of at least a second, which only end what hangs.
func noneOrSeconds(v string) bool { return v == "0" || atLeast(1000)(v) }

// startupParameters returns the settings that a connection to a server of this major version asks
// for; major 0: those of every version. pooled: only those that poolers accept.
func startupParameters(major int, pooled bool) map[string]string {
	p := map[string]string{}
	for _, s := range settings {
		if s.value != "" && s.since <= major && (s.pooled || !pooled) {
			p[s.name] = s.value
		}
	}
	return p
}

// found is the value that a setting has in a session, and where it was set.
type found struct{ value, source string }

// readSettings asks a connection for its settings. Every pooler and every mode of pgx
// can run the statement.
func readSettings(ctx context.Context, conn *pgx.Conn) (role, database string, values map[string]found, err error) {
	var names []string
	for _, s := range settings {
		names = append(names, "'"+s.name+"'")
	}
	results, err := unhurried(ctx, conn, `SELECT current_user, current_database(), name,
	       CASE name WHEN 'statement_timeout' THEN reset_val ELSE setting END, source
	  FROM pg_catalog.pg_settings WHERE name IN (`+strings.Join(names, ", ")+`)`)
	if err != nil {
		return "", "", nil, err
	}
	values = map[string]found{}
	for _, r := range results {
		for _, row := range r.Rows {
			role, database = string(row[0]), string(row[1])
			values[string(row[2])] = found{string(row[3]), string(row[4])}
		}
	}
	return role, database, values, nil
}

// unhurried runs a query in a transaction without a time limit, and does not change
// the session. The session's statement_timeout can still cancel the statements before the
// query, and the timeout of an earlier statement can arrive late. Then it tries again.
// Errors: a *SettingError if the limit is too short for every try.
func unhurried(ctx context.Context, conn *pgx.Conn, sql string) ([]*pgconn.Result, error) {
	const tries = 5
	for n := 1; ; n++ {
		results, err := conn.PgConn().Exec(ctx, "BEGIN; SET LOCAL statement_timeout = 0; "+sql+"; COMMIT").ReadAll()
		if err == nil {
			return results, nil
		}
		if _, rollback := conn.PgConn().Exec(ctx, "ROLLBACK").ReadAll(); rollback != nil && !canceled(rollback) {
			return nil, errors.Join(err, rollback)
		}
		if !canceled(err) {
			return nil, err
		}
		if n == tries {
			c := conn.Config()
			return nil, &SettingError{"statement_timeout", "too short", "unknown", c.User, c.Database, "0"}
		}
	}
}

// tooShort reports whether transaction_timeout ended the session.
func tooShort(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "25P04"
}

// named returns err, or a SettingError for the setting that made the server end the session.
func named(err error, c *pgx.ConnConfig) error {
	if tooShort(err) {
		return &SettingError{"transaction_timeout", "too short", "unknown", c.User, c.Database, "0"}
	}
	return err
}

// canceled reports whether the server canceled a statement. A statement_timeout that fires just as
// its statement ends cancels the next statement, and the server reports it as a user's request.
func canceled(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "57014"
}

// SettingError is a setting of the session that Culvert can neither accept nor change,
// because the connection leads through a pooler, or only a superuser may change it.
type SettingError struct {
	Name, Value    string
	Source         string // as in pg_settings: user, database, configuration file, …
	Role, Database string
	Want           string
}

// Error says what to do.
func (e *SettingError) Error() string {
	return fmt.Sprintf("the setting %s is %q for role %q in database %q (set by: %s), and Culvert cannot set it on this connection: run  ALTER ROLE %s IN DATABASE %s SET %s = '%s'",
		e.Name, e.Value, e.Role, e.Database, e.Source, pgx.Identifier{e.Role}.Sanitize(), pgx.Identifier{e.Database}.Sanitize(), e.Name, e.Want)
}

// Verify checks the settings of a new connection. Errors: *SettingError.
func Verify(ctx context.Context, conn *pgx.Conn) error {
	role, database, values, err := readSettings(ctx, conn)
	if err != nil {
		return fmt.Errorf("read the session's settings: %w", named(err, conn.Config()))
	}
	for _, s := range settings {
		v, known := values[s.name]
		if !known || s.fits == nil || s.fits(v.value) {
			continue
		}
		want := s.value
		if want == "" {
			want = s.cure
		}
		return &SettingError{s.name, v.value, v.source, role, database, want}
	}
	return nil
}

// refusedParameters reports whether a server or pooler did not let a connection start
// because of a parameter it asked for.
func refusedParameters(err *pgconn.PgError) bool {
	switch err.Code {
	case "08P01", // PgBouncer, and servers that do not understand the startup message
		"0A000", "22023", "42501", "42704", "55P02":
		return true
	}
	return false
}
