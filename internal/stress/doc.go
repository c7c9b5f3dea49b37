// Package stress contains only tests that Culvert as a whole keeps
// its promises under load and faults: instances as processes of their own,
// publishers over HTTP and from SQL, readers over both transports, while
// instances are killed, Postgres crashes, and slices are opened and pruned.
//
// [TestSoak] plays a schedule of faults that is drawn from a seed, under all
// kinds of load at once, and then checks every promise of docs/guarantees.md:
//
//	go test ./internal/stress -run TestSoak                        two fixed seeds of 20 s each
//	go test ./internal/stress -run TestSoak -seed 7 -minutes 1     one seed, of any length
//	go test ./internal/stress -run TestSoak -seed 7 -minutes 1 -runs 100 -timeout 0
//	                                                               seeds 7 to 106
//	make soak                                                      new seeds for an hour
//
// STRESS_SEED, STRESS_MINUTES, STRESS_RUNS and STRESS_SOAK do the same as the flags
// -seed, -minutes, -runs and -soak. The same seed and length give the same schedule and
// the same choices of the load; the timing still differs
// from run to run. A run that fails prints its seed, the broken promises with examples, what
// happened when, and the schedule. With -v the amounts of everything are printed, too.
//
// What a run consists of, and the file it is in:
//
//	schedule   which fault comes when, what it hits and how long it lasts
//	soakrun    two instances and a handler, set up, loaded and torn down
//	cluster    Postgres: snapshots of its folder, standbys, promotion
//	forwarder  the address behind which the primary changes; pooler: PgBouncer
//	program    an instance that is restarted when it ends, as by an orchestrator
//	faults     the faults of processes and sessions
//	losses     promotions and restored snapshots, and what survived them
//	load       emitter (HTTP), teller (SQL), membership, ackers, askers, worker (handler)
//	follower   readers, which record everything that they get
//	facts      what publishers know; verdict: what is found
//	checklog   compares the log at the end with the publishers; checkreaders: with the readers
//
// A promotion of an asynchronous standby and a restored snapshot necessarily lose events.
// A run reads what survived before it opens the database again. Only events after
// that may be lost, their offsets must never come again, and every reader that
// had seen some of them must get a gap.
//
// Some seeds use PgBouncer. If it is not installed, they run without
// it and say so; with CI=true they fail.
package stress
