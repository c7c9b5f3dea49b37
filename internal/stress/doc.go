// Package stress holds no code, only the tests that the whole of Culvert keeps
// its word under load and accidents: instances as processes of their own,
// publishers over HTTP and from SQL, readers over both transports, while
// instances are killed, Postgres crashes, and slices roll and are pruned.
//
// [TestSoak] plays a schedule of faults that is drawn from a seed, under all
// kinds of load at once, and then checks every promise of docs/guarantees.md:
//
//	go test ./internal/stress -run TestSoak                        two fixed seeds of 20 s each
//	go test ./internal/stress -run TestSoak -seed 7 -minutes 1     one seed, as long as you like
//	go test ./internal/stress -run TestSoak -seed 7 -minutes 1 -runs 100 -timeout 0
//	                                                               seeds 7 to 106
//	make soak                                                      fresh seeds for an hour
//
// STRESS_SEED, STRESS_MINUTES, STRESS_RUNS and STRESS_SOAK do the same as the flags
// -seed, -minutes, -runs and -soak. The same seed and length give the same schedule and
// the same choices of those who make the load; what the machine makes of them differs
// from run to run. A run that fails prints its seed, what was broken with examples, what
// happened when, and the schedule. With -v the amounts of everything are printed, too.
//
// What a run consists of, and the file it is in:
//
//	schedule   which fault when, to whom and for how long
//	soakrun    two instances and a handler, set up, loaded and torn down
//	cluster    Postgres: snapshots of its folder, standbys, promotion
//	forwarder  the address behind which the primary changes; pooler: PgBouncer
//	program    an instance as its orchestrator sees it
//	faults     what happens to processes and sessions
//	losses     promotions and snapshots put back, and what survived them
//	load       emitter (HTTP), teller (SQL), membership, ackers, askers, worker (handler)
//	follower   readers, which write down all they are told
//	facts      what publishers know; verdict: what is found
//	checklog   the log at the end against the publishers; checkreaders: against the readers
//
// A promotion of an asynchronous standby and a snapshot put back lose events by their
// nature. A run reads what survived before it lets anybody through again; only what
// lies past that may be gone, its offsets must never come again, and every reader that
// had seen some of it must be told by a gap.
//
// PgBouncer is in the way of some seeds. Where it is not installed those run without
// it and say so; with CI=true they fail.
package stress
