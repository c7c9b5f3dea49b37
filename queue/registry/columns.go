package registry

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
)

// moment converts a time of Postgres: NULL is the zero time, and infinite times become finite ones.
func moment(t pgtype.Timestamptz) time.Time {
	switch {
	case !t.Valid:
		return time.Time{}
	case t.InfinityModifier == pgtype.Infinity, t.InfinityModifier == pgtype.Finite && t.Time.Year() > 9999:
		return time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	case t.InfinityModifier == pgtype.NegativeInfinity:
		return time.Unix(0, 0)
	}
	return t.Time
}

// settingColumns selects the settings as NamespaceSettings has them. Strange values stored by hand must not
// prevent all the others from being read: NULLs among patterns are left out, and infinite times are bounded.
var settingColumns = everySetting(func(column string, of any) string {
	switch of.(type) {
	case *time.Duration:
		return `least(coalesce(` + column + `, '0'), '100 years')`
	case *[]string:
		return `coalesce(array_remove(` + column + `, NULL), '{}')`
	case *float64:
		return `coalesce(nullif(` + column + `, 'NaN'), 0)`
	default:
		return `coalesce(` + column + `, 0)`
	}
})

// everySetting applies expression to the column of each setting, and joins the results in the order of the
// settings.
func everySetting(expression func(column string, of any) string) string {
	var all []string
	for _, s := range settings {
		all = append(all, expression("n."+s.Name, s.Of(&NamespaceSettings{})))
	}
	return strings.Join(all, ", ")
}

// fields returns pointers to the settings, in the order of the columns.
func (s *NamespaceSettings) fields() (all []any) {
	for _, setting := range settings {
		all = append(all, setting.Of(s))
	}
	return all
}

// storeSettingsSQL stores the settings of a namespace. Zero becomes NULL, for the server's default. $1 is the
// namespace's name.
var storeSettingsSQL = func() string {
	var set []string
	for i, s := range settings {
		value := fmt.Sprintf("$%d", i+2)
		switch s.Of(&NamespaceSettings{}).(type) {
		case *time.Duration:
			value += "::interval, '0'"
		case *[]string:
			value += "::text[], '{}'"
		case *float64:
			value += "::double precision, 0"
		default:
			value += "::int, 0"
		}
		set = append(set, s.Name+" = nullif("+value+")")
	}
	return "UPDATE culvert.namespaces SET " + strings.Join(set, ", ") + " WHERE name = $1"
}()

func (s *NamespaceSettings) store(ctx context.Context, tx pgx.Tx, ns event.Namespace) error {
	if err := s.Check(); err != nil {
		return err
	}
	arguments := []any{ns.String()}
	for _, of := range s.fields() {
		if patterns, ok := of.(*[]string); ok {
			of = append([]string{}, *patterns...) // not NULL
		}
		arguments = append(arguments, of)
	}
	_, err := tx.Exec(ctx, storeSettingsSQL, arguments...)
	return postgres.Unavailable(ctx, "store settings", err)
}
