package wire

import (
	"errors"
	"net/http"
	"os"

	"github.com/culvertmq/culvert/event"
)

// faults is the one table from errors to problems and their status. Errors of the router are not in it: see
// routed in observe.go.
var faults = []struct {
	err   error
	kind  *Kind
	field string
}{
	{event.ErrSyntax, Malformed, ""},
	{event.ErrTooDeep, tooDeep, ""},
	{event.ErrTooLarge, TooLarge, ""},
	{event.ErrCursor, BadParameter, "cursor"},
	{event.ErrBeyondHead, beyondHead, "cursor"},
	{event.ErrOtherLog, otherLog, "cursor"},
	{event.ErrKeyReused, keyReused, "key"},
	{event.ErrNotFound, NotFound, ""},
	{event.ErrDeleted, NotFound, ""},
	{event.ErrTooManyRooms, tooManyRooms, "room"},
	{event.ErrRoomQuota, roomQuota, "room"},
	{event.ErrNoAsk, NotFound, ""},
	{event.ErrReplyClosed, replyClosed, ""},
	{event.ErrOverloaded, Overloaded, ""},
	{event.ErrNoMemory, TooManyRequests, ""},
	{event.ErrUnavailable, Unavailable, ""},
	{event.ErrClosed, Draining, ""},
	{os.ErrDeadlineExceeded, TimedOut, ""}, // a body that stopped arriving
}

// NothingHere is the text both for an unknown route and for what the caller may not know of, so that the answer
// does not reveal which of the two it is.
const NothingHere = "there is nothing here for these credentials"

// FaultOf returns the problem for an error. An error that is in no row is internal: its text goes only to the
// log.
func FaultOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	var bad *event.InvalidError
	isField := errors.As(err, &bad)
	for _, f := range faults {
		if !errors.Is(err, f.err) {
			continue
		}
		switch {
		case f.kind == NotFound:
			return Refuse(NotFound, "", NothingHere)
		case f.kind == TimedOut:
			return Refuse(f.kind, "", "the body stopped arriving")
		case isField:
			return Refuse(f.kind, bad.Field, bad.Error())
		}
		return Refuse(f.kind, f.field, f.err.Error())
	}
	if isField {
		return Refuse(Invalid, bad.Field, bad.Error())
	}
	return Refuse(Internal, "", "the server's log has the details under the request id")
}

// InField makes the error name the field as the caller knows it, when the queue has another name for it.
func InField(err error, field string) error {
	var bad *event.InvalidError
	if errors.As(err, &bad) {
		return &event.InvalidError{Field: field, Reason: bad.Reason, Err: bad.Err}
	}
	var p *Problem
	if errors.As(err, &p) {
		return Refuse(p.Kind, field, p.Detail)
	}
	if p = FaultOf(err); p.Status >= http.StatusInternalServerError {
		return err // the error is not about a field
	}
	return Refuse(p.Kind, field, p.Detail)
}
