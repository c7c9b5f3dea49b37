package queue

import (
	"context"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue/tail"
)

// Joining is what is true of one Join.
type Joining struct {
	// Own: the client joins by its own token. The membership then holds while the token
	// it comes with allows the room (Interest.May); one that a backend makes holds until it is
	// taken, and takes the place of the client's own.
	Own bool
	// MaxRooms bounds the rooms the client may be in; 0 does not.
	MaxRooms int
	// Quota bounds the rooms that joins may make; those of Own are the client's.
	Quota event.RoomQuota
}

// Join puts a client into a room: events after the returned position are for it.
// It is committed when Join returns, and holds on open streams of every instance.
// A client that is in the room already stays in it from where it was. maxRooms
// bounds the rooms a client may be in; 0 does not. It is a backend's word: see Joining. Errors: ErrTooManyRooms,
// ErrOverloaded, ErrUnavailable, ErrClosed, an *InvalidError for a reserved room.
func (q *Queue) Join(ctx context.Context, ns event.Namespace, r event.Room, c event.Client, maxRooms int) (event.Cursor, error) {
	return q.JoinAs(ctx, ns, r, c, Joining{MaxRooms: maxRooms})
}

// JoinAs is Join on somebody's word. Errors as for Join.
func (q *Queue) JoinAs(ctx context.Context, ns event.Namespace, r event.Room, c event.Client, j Joining) (event.Cursor, error) {
	if err := joinable(r); err != nil {
		return event.Cursor{}, err
	}
	maker := event.Client{}
	if j.Own {
		maker = c
	}
	if err := q.log.Claim(ctx, ns, maker, []event.Room{r}, j.Quota); err != nil {
		return event.Cursor{}, err
	}
	m := tail.Membership{Name: tail.Join, Namespace: ns, Client: c, Room: r, Own: j.Own}
	position, _, err := q.log.Change(ctx, m, j.MaxRooms)
	if err == nil && position.Offset < 0 {
		err = event.ErrTooManyRooms
	}
	if err != nil {
		return event.Cursor{}, err
	}
	return position, nil
}

// Leave takes a client out of a room: events up to the returned position are still
// for it. Leaving again changes nothing and returns the same position, as
// long as that is remembered. Errors as for Join.
func (q *Queue) Leave(ctx context.Context, ns event.Namespace, r event.Room, c event.Client) (event.Cursor, error) {
	if err := joinable(r); err != nil {
		return event.Cursor{}, err
	}
	position, _, err := q.log.Change(ctx, tail.Membership{Name: tail.Leave, Namespace: ns, Client: c, Room: r}, 0)
	if err != nil {
		return event.Cursor{}, err
	}
	return position, nil
}

// Forget drops a client's cursor and rooms and ends its subscriptions on every
// instance with ErrForgotten. Errors: ErrNotFound, and as for Join.
func (q *Queue) Forget(ctx context.Context, ns event.Namespace, c event.Client) error {
	_, changed, err := q.log.Change(ctx, tail.Membership{Name: tail.Forget, Namespace: ns, Client: c}, 0)
	if err == nil && !changed {
		err = event.ErrNotFound
	}
	return err
}

func joinable(r event.Room) error {
	if r.Reserved() {
		return event.Invalid("room", `is reserved: "*" and names beginning with "@" cannot be joined or left`)
	}
	return nil
}
