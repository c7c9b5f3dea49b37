package queue

import (
	"context"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
)

// For says for which client something is read: the connections to Postgres are shared
// out fairly among those who wait for one, by namespace and then by client. Without it
// that is the client of a call that names one; the backends of a namespace count as one client.
func For(ctx context.Context, c event.Client) context.Context { return postgres.WithReader(ctx, c) }
