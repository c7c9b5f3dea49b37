package api

import (
	"strconv"

	"github.com/culvertmq/culvert/event"
)

// audience is whom the event is for: "room", "rooms", or everyone.
func (e *envelope) audience(c *call) ([]event.Room, error) {
	switch {
	case e.room != nil && e.rooms != nil:
		return nil, refuse(invalid, "rooms", "room and rooms are mutually exclusive")
	case e.room != nil:
		s, err := text("room", e.room)
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
			err = refuse(invalid, "rooms", "rooms must name at least one room; leave it out to reach everyone")
		}
		return rooms, err
	}
	return nil, allowed(c, "room", event.Everyone)
}

// allowed refuses a room the caller may not emit to.
func allowed(c *call, field string, r event.Room) error {
	if c.who.mayEmit(r) {
		return nil
	}
	return refuse(forbidden, field, "the token does not allow emitting to room "+strconv.Quote(r.String()))
}

// excepted are the rooms whose clients do not get the event. Leaving somebody
// out needs no right.
func (e *envelope) excepted(c *call) ([]event.Room, error) {
	if isNull(e.except) {
		return nil, nil
	}
	return roomList("except", e.except, func(s string) (event.Room, error) {
		if s != "@me" {
			return event.ParseRoom(s)
		}
		if c.who.client == (event.Client{}) {
			return event.Room{}, refuse(invalid, "except", `"@me" needs a sender: name it with ?client=`)
		}
		return c.who.client.OwnRoom(), nil
	})
}

// roomList reads an array of room names.
func roomList(field string, raw []byte, parse func(string) (event.Room, error)) ([]event.Room, error) {
	var rooms []event.Room
	isArray, err := elements(raw, func(i int, value []byte) error {
		if i == maxRooms {
			return refuse(invalid, field, field+" may name at most 100 rooms")
		}
		s, err := text(field, value)
		if err != nil {
			return err
		}
		r, err := parse(s)
		if err != nil {
			return inField(err, field)
		}
		rooms = append(rooms, r)
		return nil
	})
	if !isArray {
		return nil, refuse(invalid, field, field+" must be an array of strings")
	}
	return rooms, err
}
