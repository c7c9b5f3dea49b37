// Package wire is what Culvert and its clients say to each other, in bytes: it knows no routes, no callers and
// no queue. docs/protocol.md describes it.
//
// Errors that a client is to see are made by Refuse. FaultOf turns any error into one, and Problem.AppendJSON
// writes it. Bodies are read by ReadBody and CheckJSON; Object, Elements and Text then take the JSON
// apart. EventFrame, HeartbeatFrame and their like are all that a stream sends, and a Writer sends it: its
// writes have deadlines.
package wire
