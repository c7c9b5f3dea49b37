// Package lineage knows which database an instance works on: which log that is, which positions
// the log has given out, and the ids of namespaces and rooms. All of it can stop being true, when
// a namespace is deleted, or Postgres is restarted, restored or replaced by another server.
//
// A Keeper has it as it was when it was last looked at. Whoever uses an id gives Postgres the
// generation in which it was looked up; where that is not the present one, Postgres refuses the
// statement, and Keeper.WithIDs looks everything up again and repeats it.
package lineage
