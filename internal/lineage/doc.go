// Package lineage knows which database an instance works on: which log that is, which positions the log has
// assigned, and the ids of namespaces and rooms. All of this can become outdated when a namespace is deleted,
// or Postgres is restarted, restored or replaced by another server.
//
// A Keeper knows this as of its last look. Every statement that uses an id also gives Postgres the generation
// in which the id was looked up. If that is not the present one, Postgres refuses the statement, and
// Keeper.WithIDs looks everything up again and repeats the statement.
package lineage
