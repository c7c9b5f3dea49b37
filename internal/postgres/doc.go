// Package postgres prepares connections to a Postgres whatever its settings are: it pins the settings of the
// session that Culvert's SQL relies on, refuses servers that cannot keep a log in order, and recognises
// transaction poolers. It also has the pools of an instance, and the kinds of errors.
//
// Prepare is called once for a database URL, before anything else connects:
//
//	config, err := pgxpool.ParseConfig(url)
//	server, err := postgres.Prepare(ctx, config.ConnConfig)
//	config.AfterConnect = postgres.Verify
//	config.ShouldPing = postgres.ShouldPing
package postgres
