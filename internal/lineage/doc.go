// Package lineage knows which database an instance works on: which log that is, which positions
// the log has given out, and the ids of namespaces and rooms. All of this can become wrong when
// a namespace is deleted, or when Postgres is restarted, restored or replaced by another server.
//
// A Keeper has the state that it last read. A statement that uses an id passes the
// generation in which the id was looked up. If that is not the present generation, Postgres refuses the
// statement, and Keeper.WithIDs looks everything up again and repeats it.
package lineage
