package postgres

import (
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m, nil) }

// The settings of a session with a statement_timeout of 1 ms are read, or the error names that
// setting. On a busy machine the limit passes before the query runs.
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
