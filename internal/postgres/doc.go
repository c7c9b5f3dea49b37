// Package postgres connects to any Postgres: it pins the
// settings of the session that Culvert's SQL relies on, refuses servers that cannot
// keep a log in order, detects transaction poolers, and says which errors mean what.
//
// OpenPools makes the pools of an instance, whose connections Shared.Use shares out fairly among those who wait
// (turnstile.go); OpenOne makes one connection for a tool, and NewListener the one that waits for notifications:
//
//	pools, err := postgres.OpenPools(ctx, postgres.PoolOptions{DatabaseURL: url, MaxConns: 10, Logger: log})
//	defer pools.Close()
//
// Prepare does for one database URL what OpenPools does before it connects. Unavailable, IsOutdated and IsReadOnly tell
// errors apart, Repeat sends a statement again that gave way to another one, and Outage logs once that Postgres is down.
package postgres
