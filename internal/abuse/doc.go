// Package abuse holds no code, only attacks: each does what one ordinary token, API key
// or SQL role may do, as much of it as it can, and beside it a victim, a client of
// another namespace, does its own work. An attack passes when
//
//   - the memory of the server and of the backends of Postgres stays under the bound that
//     stands, with its reason, in its test;
//   - the victim is not refused, and its slowest call stays within 5 times of the 99th percentile
//     without the attacker, or within 2 s where that is less, which a busy machine may add by itself.
//
// What they share is in abuse_test.go: a rig is a server process with a Postgres of its
// own, a victim measures, and memory is read from /proc. They are run alone and without the race
// detector, which takes several times the memory and the time.
//
//	go test ./internal/abuse          small, as in make test
//	go test ./internal/abuse -full    as large as the machine bears
package abuse
