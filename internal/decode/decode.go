package decode

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/jsontext"
	"github.com/culvertmq/culvert/internal/trusted"
)

// Check returns what is wrong with an event as it was read, or nil. before is another event
// that was checked already, or nil: its names are not checked again.
func Check(e, before *event.Event, data []byte, except []pgtype.Text) error {
	if before == nil || before.Name != e.Name || before.Fault != nil {
		if err := event.CheckName("event", e.Name, event.MaxEventName); err != nil {
			return err
		}
	}
	// Rooms whose names begin with a control character are Culvert's own, which no client can name.
	if (before == nil || before.Room != e.Room || before.Fault != nil) && e.Namespace != "" && !strings.HasPrefix(e.Room.String(), "\x01") {
		if err := event.CheckName("room", e.Room.String(), event.MaxRoom); err != nil {
			return err
		}
	}
	if e.From.String() != "" {
		if err := event.CheckName("sender", e.From.String(), event.MaxClient); err != nil {
			return err
		}
	}
	for _, r := range except {
		if err := event.CheckName("except", r.String, event.MaxRoom); err != nil {
			return err
		}
	}
	switch {
	case e.At.IsZero() || e.At.Year() < 0 || e.At.Year() > 9999:
		return errTime
	case !jsontext.ValidLine(data):
		return errData
	case e.Binary && data[0] != '"':
		return errBinary
	}
	return nil
}

var (
	errTime   = errors.New("at is not a time between the years 0 and 9999")
	errData   = errors.New("data is not one line of JSON in UTF-8")
	errBinary = errors.New("data is marked as binary but is not a string")

	// ErrDamaged is the Fault of an event whose row Postgres cannot read.
	ErrDamaged = errors.New("Postgres cannot read the row") //nolint:staticcheck // a name
)

// IsDamaged reports whether Postgres failed on rows or indexes that are not as it wrote them.
func IsDamaged(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && strings.HasPrefix(pg.Code, "XX")
}

// Rooms returns the rooms that an event excepts; NULL among them becomes a room without a name.
func Rooms(names []pgtype.Text) []event.Room {
	var rooms []event.Room
	for _, name := range names {
		rooms = append(rooms, event.StoredRoom(trusted.Of(name.String)))
	}
	return rooms
}
