package culvert

import (
	"testing"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
)

// TestMain also checks that no goroutine is left behind.
func TestMain(m *testing.M) { pgtest.Main(m, migrations.Up) }
