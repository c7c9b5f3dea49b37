// Package abuse contains only tests that attack a server. Each attack does as much as it can of what one
// ordinary token, API key or SQL role may do, while a victim, a client of
// another namespace, does its own work. A test passes when
//
//   - the memory of the server and of the backends of Postgres stays below a bound that
//     the test gives, with its reason;
//   - the victim is not refused, and its slowest call takes at most 5 times the 99th percentile
//     without the attacker, or at most 2 s if that is more, because a busy machine may add this by itself.
//
// The common parts are in abuse_test.go: a rig is a server process with a Postgres of its
// own, a victim measures, and memory is read from /proc. The tests run alone and without the race
// detector, which takes several times the memory and the time.
//
//	go test ./internal/abuse          small, as in make test
//	go test ./internal/abuse -full    as large as the machine allows
package abuse
