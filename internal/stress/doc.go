// Package stress holds no code, only the test that the whole of Culvert keeps
// its word under load and accidents: instances as processes of their own,
// publishers over HTTP and from SQL, readers over both transports, while
// instances are killed, Postgres crashes, and slices roll and are pruned.
package stress
