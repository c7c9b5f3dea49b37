// Package localpg runs a private Postgres: for `culvert serve` without a
// database URL, and for tests.
//
// [Start] opens a folder, makes a cluster in it when there is none yet, and
// runs a postmaster that listens on a Unix socket only. [StartTemp] does the
// same with a throw-away folder. Packages that only want a database in their
// tests use the package pgtest below this one.
//
//	Start ──▶ running ──Stop──▶ stopped: the folder may be opened by another
//	            │   ▲              ▲
//	            │   └─StartAgain─┐ │
//	            └─StopImmediate, │ Stop
//	              a crash ──▶ down: folder, lock and DSN are still ours
//
// The folder belongs to this package alone:
//
//	data/         the cluster; initdb-tmp/ while it is being made
//	run/          the socket, unless the path is too long for one (see sockets.go)
//	postgres.log  what Postgres said since its last start
//	lock          flock'ed by the process that runs it, naming its pid and DSN
//
// Postgres never outlives the process that started it, even when that is killed
// with -9. When that process is root, Postgres runs as an unprivileged user.
package localpg
