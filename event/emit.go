package event

import "slices"

// Emit is an event to append.
type Emit struct {
	Namespace Namespace
	// Rooms are the rooms it is addressed to; none means Everyone. A room named twice counts once.
	Rooms  []Room
	Except []Room
	Event  EventName
	Data   Data
	From   Client
	Key    Key
	// KeyOwner is the client that the Key belongs to; zero: the Key belongs to the class that
	// backends and culvert.emit share in a namespace.
	KeyOwner Client
	// Reply asks for replies; zero: the event does not ask.
	Reply Ask
	// Quota bounds the rooms that the emit may make, as rooms of From.
	Quota RoomQuota
	// Lists reports whether the emitter may see who is in a room; nil: in every room. Without
	// that right, no reply is expected from members of the room.
	Lists func(Room) bool
}

// Result is the outcome of one Emit.
type Result struct {
	// Cursor of the stored event; of the first one for a Duplicate.
	Cursor Cursor
	// Duplicate: the key was used before within the dedup window, and nothing was stored.
	Duplicate bool
	// Err is set only by AppendEach; Append returns one error for all.
	Err error
}

// Check refuses invalid emits that the types of the fields allow.
func (e *Emit) Check() error {
	switch {
	case e.Namespace == Namespace{}:
		return Invalid("namespace", "must not be empty")
	case e.Event == EventName{}:
		return Invalid("event", "must not be empty")
	case len(e.Rooms) > MaxRooms:
		return Invalidf("rooms", "has %d rooms, the limit is %d", len(e.Rooms), MaxRooms)
	case len(e.Except) > MaxRooms:
		return Invalidf("except", "has %d rooms, the limit is %d", len(e.Except), MaxRooms)
	}
	return e.Reply.check()
}

// Addressed returns the rooms that the event is addressed to, each once.
func (e *Emit) Addressed() []Room {
	switch len(e.Rooms) {
	case 0:
		return []Room{Everyone()}
	case 1:
		return e.Rooms
	}
	return UniqueRooms(e.Rooms)
}

// UniqueRooms returns the rooms sorted and without repeats.
func UniqueRooms(rooms []Room) []Room {
	rooms = slices.Clone(rooms)
	slices.SortFunc(rooms, Room.Compare)
	return slices.Compact(rooms)
}

// RoomQuota bounds how many rooms there may be. A room is made by its first event or
// member and is not removed. 0: any number.
type RoomQuota struct {
	Client    int // made by one client
	Namespace int // in a namespace, whoever made them
}

// CloneEmits copies emits and their lists, so that the caller may change its own while the copies are kept.
func CloneEmits(emits []Emit) []Emit {
	emits = slices.Clone(emits)
	for i := range emits {
		emits[i].Rooms, emits[i].Except = slices.Clone(emits[i].Rooms), slices.Clone(emits[i].Except)
	}
	return emits
}
