package postgres

import (
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m, nil) }

// A session whose statements may take 1 ms is read all the same, or the error names the setting: on
// a busy machine the limit passes while the statements before the query run.
func TestSettingsAreReadUnderAShortLimit(t *testing.T) {
	dsn := pgtest.Database(t)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			conn, err := pgx.Connect(t.Context(), dsn)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close(t.Context())
			if _, err := conn.Exec(t.Context(), "SET statement_timeout = 1"); err != nil {
				t.Error(err)
				return
			}
			for range 100 {
				var setting *SettingError
				if _, _, _, err := readSettings(t.Context(), conn); err != nil && (!errors.As(err, &setting) || setting.Name != "statement_timeout") {
					t.Errorf("the error does not name the setting: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
}
