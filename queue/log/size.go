package log

import (
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/batch"
)

// Bytes that something is counted for beside its data while it waits.
const (
	EmitBytes = 256 // an emit that waits
	RoomBytes = 512 // a room that an event is addressed to: its name's place, its id, its event in the tail
	NameBytes = 64  // a name in a list
)

// loadOfEmit is its data once, and each room.
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

// CallerOf is whose queue an emit of a client waits in.
func CallerOf(ns event.Namespace, c event.Client) batch.Caller {
	return batch.Caller{Namespace: ns.String(), Client: c.String()}
}
