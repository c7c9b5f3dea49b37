// Package stream is what happens on a stream of Server-Sent Events, apart from who waits for it and how bytes are sent.
//
// A Stream is one open stream. Step does what there is to do now and says what the stream waits for; Next says until
// when. A stream may have a goroutine of its own (Serve), which calls Step again and again and lets it block; or it
// has none and is parked (see package park), and whoever was told that it has something to do calls Step, which then
// never blocks.
//
//	waits ──▶ Step: ended? too old? heartbeat due? ── poll ── write ──▶ waits
//	                                                  │         └─────▶ is full: waits for the client
//	                                                  └───────────────▶ asks Postgres: may be called with block
package stream
