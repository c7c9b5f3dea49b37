package api

import (
	"cmp"
	"context"
	"net/http"
	"strconv"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
)

// rooms is the part of the queue that stores rooms and their members.
type rooms interface {
	JoinAs(ctx context.Context, ns event.Namespace, r event.Room, c event.Client, j queue.Joining) (event.Cursor, error)
	Leave(ctx context.Context, ns event.Namespace, r event.Room, c event.Client) (event.Cursor, error)
	Members(ctx context.Context, ns event.Namespace, r event.Room, after event.Client, limit int) ([]queue.Member, error)
	Rooms(ctx context.Context, ns event.Namespace, after event.Room, limit int) ([]queue.RoomState, error)
}

// join serves PUT /v1/{ns}/rooms/{room}/clients/{client}.
func (h *Handler) join(c *call) error {
	room, client, err := c.membership()
	if err != nil {
		return err
	}
	if !room.Reserved() && !c.who.MayRead(room) {
		return wire.Refuse(wire.Forbidden, "room", "the token does not allow joining room "+strconv.Quote(room.String()))
	}
	quota := event.RoomQuota{Namespace: c.quota.Namespace}
	if !c.who.Backend {
		quota.Client = c.quota.Client
	}
	cursor, err := h.queue.JoinAs(c.r.Context(), c.ns, room, client, queue.Joining{
		Own: !c.who.Backend, Quota: quota, MaxRooms: cmp.Or(h.registry.Settings(c.ns).MaxRoomsClient, h.o.MaxRooms),
	})
	if err != nil {
		return err
	}
	return h.replyCursor(c, cursor)
}

// leave serves DELETE /v1/{ns}/rooms/{room}/clients/{client}. No right is needed to leave a room.
func (h *Handler) leave(c *call) error {
	room, client, err := c.membership()
	if err != nil {
		return err
	}
	cursor, err := h.queue.Leave(c.r.Context(), c.ns, room, client)
	if err != nil {
		return err
	}
	return h.replyCursor(c, cursor)
}

// membership returns the room and the client that a join or a leave is about.
func (c *call) membership() (room event.Room, client event.Client, err error) {
	if room, err = c.room(); err != nil {
		return room, client, err
	}
	client, err = c.client()
	return room, client, err
}

// room returns the room in the path.
func (c *call) room() (event.Room, error) {
	name, err := c.param("room")
	if err != nil {
		return event.Room{}, err
	}
	return event.ParseRoom(name)
}

// members serves GET /v1/{ns}/rooms/{room}/clients.
func (h *Handler) members(c *call) error {
	room, err := c.room()
	if err != nil {
		return err
	}
	if !c.who.MayList(room) {
		return wire.Refuse(wire.Forbidden, "room", "the token does not allow reading room "+strconv.Quote(room.String()))
	}
	limit, err := c.query.limit()
	if err != nil {
		return err
	}
	var after event.Client
	if name, given, err := c.query.one("after"); err != nil {
		return err
	} else if given {
		if after, err = event.ParseClient(name); err != nil {
			return wire.InField(err, "after")
		}
	}
	members, err := h.queue.Members(c.context(), c.ns, room, after, limit+1)
	if err != nil {
		return err
	}
	members, more := upTo(members, limit)
	return h.reply(c, http.StatusOK, appendList(nil, "clients", members, more, appendMember))
}

func appendMember(b []byte, m queue.Member) []byte {
	b = wire.AppendClient(append(b, `{"client":`...), m.Client)
	b = strconv.AppendBool(append(b, `,"online":`...), m.Online)
	b = wire.AppendCursor(append(b, `,"since":`...), m.Since)
	return append(b, '}')
}

// listRooms serves GET /v1/{ns}/rooms.
func (h *Handler) listRooms(c *call) error {
	if !c.who.Backend {
		return wire.Refuse(wire.Forbidden, "", "only an API key may list rooms")
	}
	limit, err := c.query.limit()
	if err != nil {
		return err
	}
	var after event.Room
	if name, given, err := c.query.one("after"); err != nil {
		return err
	} else if given {
		if after, err = event.ParseRoom(name); err != nil {
			return wire.InField(err, "after")
		}
	}
	states, err := h.queue.Rooms(c.context(), c.ns, after, limit+1)
	if err != nil {
		return err
	}
	states, more := upTo(states, limit)
	return h.reply(c, http.StatusOK, appendList(nil, "rooms", states, more, appendRoomState))
}

func appendRoomState(b []byte, s queue.RoomState) []byte {
	b = wire.AppendString(append(b, `{"room":`...), s.Room.String())
	b = strconv.AppendInt(append(b, `,"members":`...), int64(s.Members), 10)
	b = strconv.AppendInt(append(b, `,"last_offset":`...), int64(s.Last), 10)
	return append(b, '}')
}
