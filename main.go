// Culvert carries events in both directions over plain HTTP, and stores every event in Postgres.
package main

import (
	"context"
	"os"

	"github.com/culvertmq/culvert/cmd"
)

func main() {
	ctx := cmd.UntilSignal(context.Background())
	os.Exit(cmd.Run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
