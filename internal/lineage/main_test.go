package lineage

import (
	"testing"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
)

func TestMain(m *testing.M) { pgtest.Main(m, migrations.Up) }
