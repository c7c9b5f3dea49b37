// Package wire encodes and decodes what Culvert and its clients exchange. It does not depend on routes, callers
// or the queue. docs/protocol.md describes the bytes.
//
// Refuse makes an error that a client may see. FaultOf turns any error into such a Problem, and
// Problem.AppendJSON writes it. ReadBody and CheckJSON read a body; Object, Elements and Text take its JSON
// apart. EventFrame, HeartbeatFrame and the other …Frame functions make all that a stream sends. A Writer sends
// it: its writes have deadlines.
package wire
