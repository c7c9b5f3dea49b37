package cmd

import (
	"context"
	"os"
	"testing"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

// beCulvert is the variable that makes the test binary run the program itself, for tests that send it signals.
const beCulvert = "BE_CULVERT"

func TestMain(m *testing.M) {
	if os.Getenv(beCulvert) != "" {
		os.Exit(Run(UntilSignal(context.Background()), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
	}
	pgtest.Main(m, nil)
}
