package api

import (
	"bytes"

	"github.com/culvertmq/culvert/event"
)

// maxBatch bounds the events of one atomic batch.
const maxBatch = 1000

// envelope is an emit as it came: each member's JSON, nil when absent.
type envelope struct {
	room, rooms, except, event, data, binary, key, volatile, reply, events []byte
}

// member is where the value of a member goes; nil for an unknown one.
func (e *envelope) member(name string) *[]byte {
	switch name {
	case "room":
		return &e.room
	case "rooms":
		return &e.rooms
	case "except":
		return &e.except
	case "event":
		return &e.event
	case "data":
		return &e.data
	case "binary":
		return &e.binary
	case "key":
		return &e.key
	case "volatile":
		return &e.volatile
	case "reply":
		return &e.reply
	case "events":
		return &e.events
	}
	return nil
}

// open reads the members of valid JSON. Names are matched exactly.
func (e *envelope) open(raw []byte) error {
	return object(raw, "", e.member)
}

// alone refuses members beside "events".
func (e *envelope) alone() error {
	for _, name := range []string{"room", "rooms", "except", "event", "data", "binary", "key", "volatile", "reply"} {
		if *e.member(name) != nil {
			return refuse(invalid, name, name+" must be set in each of the events, not beside them")
		}
	}
	return nil
}

// emit checks the envelope as an event of the caller and its namespace.
func (e *envelope) emit(c *call) (event.Emit, error) {
	m := event.Emit{Namespace: c.ns, From: c.who.client, Quota: event.RoomQuota{Namespace: c.quota.Namespace}}
	if !c.who.backend {
		m.KeyOwner = c.who.client
		m.Quota.Client = c.quota.Client
		m.Lists = c.who.maySee
	}
	if e.events != nil {
		return m, refuse(malformed, "events", "an event cannot contain events")
	}
	var err error
	if m.Event, err = e.name(); err != nil {
		return m, err
	}
	if m.Rooms, err = e.audience(c); err != nil {
		return m, err
	}
	if m.Except, err = e.excepted(c); err != nil {
		return m, err
	}
	if m.Data, err = e.payload(); err != nil {
		return m, err
	}
	if m.Reply, err = e.ask(); err != nil {
		return m, err
	}
	m.Key, err = e.idempotencyKey()
	return m, err
}

func (e *envelope) name() (event.EventName, error) {
	if e.event == nil {
		return event.EventName{}, refuse(invalid, "event", "event is missing")
	}
	s, err := text("event", e.event)
	if err != nil {
		return event.EventName{}, err
	}
	return event.ParseEventName(s)
}

func (e *envelope) payload() (event.Data, error) {
	if isNull(e.binary) {
		return event.ParseData(e.data)
	}
	if !isNull(e.data) {
		return event.Data{}, refuse(invalid, "binary", "data and binary are mutually exclusive")
	}
	s, err := text("binary", e.binary)
	if err != nil {
		return event.Data{}, err
	}
	return event.ParseBinary(s)
}

func (e *envelope) idempotencyKey() (event.Key, error) {
	if isNull(e.key) {
		return event.Key{}, nil
	}
	s, err := text("key", e.key)
	if err != nil {
		return event.Key{}, err
	}
	return event.ParseKey(s)
}

// isNull: absent or null, which serializers write for absent. Where the
// difference could reach everyone (room, rooms) null is refused instead.
func isNull(raw []byte) bool { return raw == nil || bytes.Equal(raw, []byte("null")) }
