package api

import (
	"errors"
	"net/http"
	"os"

	"github.com/culvertmq/culvert/event"
)

// faults is the one place where an error becomes a status. Those of the router: see routed in observe.go.
var faults = []struct {
	err   error
	kind  *kind
	field string
}{
	{event.ErrSyntax, malformed, ""},
	{event.ErrTooDeep, tooDeep, ""},
	{event.ErrTooLarge, tooLarge, ""},
	{event.ErrCursor, badParameter, "cursor"},
	{event.ErrBeyondHead, beyondHead, "cursor"},
	{event.ErrOtherLog, otherLog, "cursor"},
	{event.ErrKeyReused, keyReused, "key"},
	{event.ErrNotFound, notFound, ""},
	{event.ErrDeleted, notFound, ""},
	{event.ErrTooManyRooms, tooManyRooms, "room"},
	{event.ErrRoomQuota, roomQuota, "room"},
	{event.ErrNoAsk, notFound, ""},
	{event.ErrReplyClosed, replyClosed, ""},
	{event.ErrOverloaded, overloaded, ""},
	{event.ErrNoMemory, tooManyRequests, ""},
	{event.ErrUnavailable, unavailable, ""},
	{event.ErrClosed, draining, ""},
	{os.ErrDeadlineExceeded, timedOut, ""}, // a body that stopped arriving
}

// nothingHere is the same for an unknown route and for what the caller may not
// know of, so that the answer tells neither.
const nothingHere = "there is nothing here for these credentials"

// faultOf finds the problem an error is. What no row knows is internal: its
// text stays in the log.
func faultOf(err error) *problem {
	var p *problem
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
		case f.kind == notFound:
			return refuse(notFound, "", nothingHere)
		case f.kind == timedOut:
			return refuse(f.kind, "", "the body stopped arriving")
		case isField:
			return refuse(f.kind, bad.Field, bad.Error())
		}
		return refuse(f.kind, f.field, f.err.Error())
	}
	if isField {
		return refuse(invalid, bad.Field, bad.Error())
	}
	return refuse(internal, "", "the server's log says more under the request id")
}

// inField names the field as the caller knows it, where the queue's own name
// for it is another.
func inField(err error, field string) error {
	var bad *event.InvalidError
	if errors.As(err, &bad) {
		return &event.InvalidError{Field: field, Reason: bad.Reason, Err: bad.Err}
	}
	var p *problem
	if errors.As(err, &p) {
		return refuse(p.kind, field, p.detail)
	}
	if p = faultOf(err); p.status >= http.StatusInternalServerError {
		return err // no field is at fault
	}
	return refuse(p.kind, field, p.detail)
}
