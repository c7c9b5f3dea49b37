package log

import (
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/batch"
)

// Bytes that are counted for what waits, in addition to its data.
const (
	EmitBytes = 256 // an emit that waits
	RoomBytes = 512 // a room that an event is addressed to: its name's place, its id, its event in the tail
	NameBytes = 64  // a name in a list
)

// loadOfEmit counts an emit's data once, and each of its rooms.
func loadOfEmit(e *event.Emit) batch.Load {
	rooms := max(1, len(e.Rooms))
	bytes := EmitBytes + e.Data.Len() + rooms*RoomBytes + len(e.Except)*NameBytes
	for _, r := range e.Rooms {
		bytes += len(r.String())
	}
	for _, r := range e.Except {
		bytes += len(r.String())
	}
	return batch.Load{Events: 1, Rooms: rooms, Bytes: bytes}
}

// CallerOf returns the caller in whose lane an emit of a client waits.
func CallerOf(ns event.Namespace, c event.Client) batch.Caller {
	return batch.Caller{Namespace: ns.String(), Client: c.String()}
}
