// Package localpg runs a private Postgres: for `culvert serve` without a
// database URL, and for tests.
//
// [Start] opens a folder, makes a cluster in it if there is none yet, and
// runs a postmaster that listens only on a Unix socket. [StartTemp] does the
// same with a throw-away folder. Packages that only need a database in their
// tests use the package pgtest below this one.
//
//	Start ──▶ running ──Stop──▶ stopped: the folder may be opened by another
//	            │   ▲              ▲
//	            │   └─StartAgain─┐ │
//	            └─StopImmediate, │ Stop
//	              a crash ──▶ down: the server keeps folder, lock and DSN
//
// The folder contains only files of this package:
//
//	data/         the cluster; initdb-tmp/ while it is being made
//	run/          the socket, unless the path is too long for one (see sockets.go)
//	postgres.log  the log of Postgres since its last start
//	lock          flock'ed by the process that runs Postgres; contains its pid and DSN
//
// Postgres never outlives the process that started it, even if that process is killed
// with -9. If that process runs as root, Postgres runs as an unprivileged user.
package localpg
