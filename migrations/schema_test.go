package migrations_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
)

// administrator returns functions that run statements as the database's superuser, where DB stands for
// the database, and that return the DSN for a role.
func administrator(t *testing.T, dsn string) (do func(sql ...string), as func(role string) string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	c := conn.Config()
	do = func(sql ...string) {
		t.Helper()
		for _, s := range sql {
			if _, err := conn.Exec(context.Background(), strings.ReplaceAll(s, "DB", c.Database)); err != nil {
				t.Fatalf("%s: %v", s, err)
			}
		}
	}
	return do, func(role string) string {
		return "host=" + c.Host + " port=5432 user=" + role + " dbname=" + c.Database
	}
}

// A schema made by an administrator is used: the role needs no right on the database.
func TestSchemaMadeByAnAdministrator(t *testing.T) {
	for _, test := range []struct {
		name string
		made []string
		want string // in the error; "": it works
	}{
		{"its own", []string{`CREATE SCHEMA culvert AUTHORIZATION modest`}, ""},
		{"granted", []string{`CREATE SCHEMA culvert`, `GRANT USAGE, CREATE ON SCHEMA culvert TO modest`}, ""},
		{"not granted", []string{`CREATE SCHEMA culvert`, `GRANT USAGE ON SCHEMA culvert TO modest`}, `GRANT USAGE, CREATE ON SCHEMA culvert TO "modest"`},
		{"a stranger's", []string{`CREATE SCHEMA culvert AUTHORIZATION squatter`, `GRANT USAGE, CREATE ON SCHEMA culvert TO modest`}, `belongs to role "squatter"`},
		{"of a role it acts for", []string{`CREATE SCHEMA culvert AUTHORIZATION squatter`, `GRANT squatter TO modest`}, ""},
		{"of the database's owner", []string{`ALTER DATABASE DB OWNER TO squatter`, `CREATE SCHEMA culvert AUTHORIZATION squatter`, `GRANT USAGE, CREATE ON SCHEMA culvert TO modest`}, ""},
		{"none", nil, `CREATE SCHEMA culvert AUTHORIZATION "modest"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			dsn := pgtest.Database(t)
			do, as := administrator(t, dsn)
			do(`CREATE ROLE modest LOGIN`, `CREATE ROLE squatter`)
			t.Cleanup(func() {
				do(`ALTER DATABASE DB OWNER TO CURRENT_USER`, `DROP OWNED BY modest, squatter CASCADE`, `DROP ROLE modest, squatter`)
			})
			do(`REVOKE CREATE, TEMPORARY ON DATABASE DB FROM PUBLIC`)
			do(test.made...)
			err := migrations.Up(t.Context(), as("modest"))
			switch {
			case test.want == "" && err != nil:
				t.Fatal(err)
			case test.want == "":
				if err := migrations.Up(t.Context(), as("modest")); err != nil {
					t.Errorf("again: %v", err)
				}
			case err == nil || !strings.Contains(err.Error(), test.want):
				t.Errorf("the error is %v, without %s", err, test.want)
			}
		})
	}
}
