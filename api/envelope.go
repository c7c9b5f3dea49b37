package api

import (
	"strconv"
	"time"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// maxBatch bounds the events of one atomic batch.
const maxBatch = 1000

// envelope is an emit before it is checked: the JSON of each field, nil when absent.
type envelope struct {
	room, rooms, except, event, data, binary, key, volatile, reply, events []byte
}

// member returns where the value of a field is stored; nil for an unknown field.
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

// open reads the fields of valid JSON. Names are matched exactly.
func (e *envelope) open(raw []byte) error {
	return wire.Object(raw, "", e.member)
}

// alone refuses other fields beside "events".
func (e *envelope) alone() error {
	for _, name := range []string{"room", "rooms", "except", "event", "data", "binary", "key", "volatile", "reply"} {
		if *e.member(name) != nil {
			return wire.Refuse(wire.Invalid, name, name+" must be set in each of the events, not beside them")
		}
	}
	return nil
}

// emit checks the envelope, and makes from it an event that the caller emits.
func (e *envelope) emit(c *call) (event.Emit, error) {
	m := event.Emit{Namespace: c.ns, From: c.who.Client, Quota: event.RoomQuota{Namespace: c.quota.Namespace}}
	if !c.who.Backend {
		m.KeyOwner = c.who.Client
		m.Quota.Client = c.quota.Client
		m.Lists = c.who.MaySee
	}
	if e.events != nil {
		return m, wire.Refuse(wire.Malformed, "events", "an event cannot contain events")
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
		return event.EventName{}, wire.Refuse(wire.Invalid, "event", "event is missing")
	}
	s, err := wire.Text("event", e.event)
	if err != nil {
		return event.EventName{}, err
	}
	return event.ParseEventName(s)
}

func (e *envelope) payload() (event.Data, error) {
	if wire.IsNull(e.binary) {
		return event.ParseData(e.data)
	}
	if !wire.IsNull(e.data) {
		return event.Data{}, wire.Refuse(wire.Invalid, "binary", "data and binary are mutually exclusive")
	}
	s, err := wire.Text("binary", e.binary)
	if err != nil {
		return event.Data{}, err
	}
	return event.ParseBinary(s)
}

func (e *envelope) idempotencyKey() (event.Key, error) {
	if wire.IsNull(e.key) {
		return event.Key{}, nil
	}
	s, err := wire.Text("key", e.key)
	if err != nil {
		return event.Key{}, err
	}
	return event.ParseKey(s)
}

// audience returns the rooms that the event is for: "room", "rooms", or everyone.
func (e *envelope) audience(c *call) ([]event.Room, error) {
	switch {
	case e.room != nil && e.rooms != nil:
		return nil, wire.Refuse(wire.Invalid, "rooms", "room and rooms are mutually exclusive")
	case e.room != nil:
		s, err := wire.Text("room", e.room)
		if err != nil {
			return nil, err
		}
		r, err := event.ParseRoom(s)
		if err != nil {
			return nil, err
		}
		return []event.Room{r}, allowed(c, "room", r)
	case e.rooms != nil:
		rooms, err := roomList("rooms", e.rooms, func(s string) (event.Room, error) {
			r, err := event.ParseRoom(s)
			if err != nil {
				return r, err
			}
			return r, allowed(c, "rooms", r)
		})
		if err == nil && len(rooms) == 0 {
			err = wire.Refuse(wire.Invalid, "rooms", "rooms must name at least one room; leave it out to reach everyone")
		}
		return rooms, err
	}
	return nil, allowed(c, "room", event.Everyone())
}

// allowed refuses a room the caller may not emit to.
func allowed(c *call, field string, r event.Room) error {
	if c.who.MayEmit(r) {
		return nil
	}
	return wire.Refuse(wire.Forbidden, field, "the token does not allow emitting to room "+strconv.Quote(r.String()))
}

// excepted returns the rooms whose clients do not get the event. No right is needed to leave somebody out.
func (e *envelope) excepted(c *call) ([]event.Room, error) {
	if wire.IsNull(e.except) {
		return nil, nil
	}
	return roomList("except", e.except, func(s string) (event.Room, error) {
		if s != "@me" {
			return event.ParseRoom(s)
		}
		if c.who.Client == (event.Client{}) {
			return event.Room{}, wire.Refuse(wire.Invalid, "except", `"@me" needs a sender: name it with ?client=`)
		}
		return c.who.Client.OwnRoom(), nil
	})
}

// roomList reads an array of room names.
func roomList(field string, raw []byte, parse func(string) (event.Room, error)) ([]event.Room, error) {
	var rooms []event.Room
	isArray, err := wire.Elements(raw, func(i int, value []byte) error {
		if i == maxRooms {
			return wire.Refuse(wire.Invalid, field, field+" may name at most 100 rooms")
		}
		s, err := wire.Text(field, value)
		if err != nil {
			return err
		}
		r, err := parse(s)
		if err != nil {
			return wire.InField(err, field)
		}
		rooms = append(rooms, r)
		return nil
	})
	if !isArray {
		return nil, wire.Refuse(wire.Invalid, field, field+" must be an array of strings")
	}
	return rooms, err
}

// defaultAsk is how long replies are taken when "reply" names no timeout.
const defaultAsk = 30 * time.Second

// ask reads "reply": {"timeout": seconds, "count": n}; null asks for nothing.
func (e *envelope) ask() (event.Ask, error) {
	if wire.IsNull(e.reply) {
		return event.Ask{}, nil
	}
	var timeout, count []byte
	err := wire.Object(e.reply, "reply", func(name string) *[]byte {
		switch name {
		case "timeout":
			return &timeout
		case "count":
			return &count
		}
		return nil
	})
	if err != nil {
		return event.Ask{}, err
	}
	a := event.Ask{Timeout: defaultAsk}
	if !wire.IsNull(timeout) {
		seconds, err := strconv.ParseFloat(string(timeout), 64)
		if err != nil || seconds < event.MinAsk.Seconds() || seconds > event.MaxAsk.Seconds() {
			return a, wire.Refuse(wire.Invalid, "reply.timeout", "reply.timeout must be a number of seconds from 0.05 to 86400")
		}
		a.Timeout = time.Duration(seconds * float64(time.Second))
	}
	if !wire.IsNull(count) {
		n, err := strconv.ParseUint(string(count), 10, 16)
		if err != nil || n < 1 || n > event.MaxReplies {
			return a, wire.Refuse(wire.Invalid, "reply.count", "reply.count must be a whole number from 1 to 10000")
		}
		a.Count = int(n)
	}
	return a, nil
}

// isVolatile reads "volatile". It refuses fields that only make sense for a stored event.
func (e *envelope) isVolatile() (bool, error) {
	switch {
	case wire.IsNull(e.volatile) || string(e.volatile) == "false":
		return false, nil
	case string(e.volatile) != "true":
		return false, wire.Refuse(wire.Invalid, "volatile", "volatile must be true or false")
	case !wire.IsNull(e.key):
		return false, wire.Refuse(wire.Invalid, "key", "a volatile event is not stored, so a repeat cannot be detected: leave the key out")
	case !wire.IsNull(e.reply):
		return false, wire.Refuse(wire.Invalid, "reply", "a volatile event has no offset, so nobody can reply to it")
	}
	return true, nil
}

// item reads one event of a batch or an upload.
func (c *call) item(raw []byte) (m event.Emit, volatile bool, err error) {
	var e envelope
	if err := e.open(raw); err != nil {
		return m, false, err
	}
	if m, err = e.emit(c); err != nil {
		return m, false, err
	}
	volatile, err = e.isVolatile()
	return m, volatile, err
}
