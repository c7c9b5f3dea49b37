package event

import (
	"errors"
	"fmt"
)

// The errors that callers distinguish with errors.Is.
var (
	// ErrUnavailable: Postgres cannot be reached or cannot write. It is then unknown
	// whether an append that was under way was committed; repeating it
	// with the same Key is safe.
	ErrUnavailable = errors.New("postgres is unavailable")
	// ErrOverloaded: the appender's queue is full. Nothing was stored.
	ErrOverloaded = errors.New("too many emits are waiting")
	// ErrNoMemory: Interest.Memory has no room for even one more event.
	ErrNoMemory = errors.New("the reader has no memory left for events")
	// ErrClosed: the queue is closing or closed. Nothing was stored.
	ErrClosed = errors.New("queue is closed")
	// ErrBeyondHead: an ack names a position after the log's newest event.
	ErrBeyondHead = errors.New("cursor is beyond the head of the log, or of events that a restore of the database has lost")
	// ErrOtherLog: an ack names a position of another log.
	ErrOtherLog = errors.New("cursor belongs to another log")
	// ErrKeyReused: the idempotency key was used for an emit with other content.
	ErrKeyReused = errors.New("idempotency key was used with another body")
	// ErrCursor: the text is not a cursor.
	ErrCursor = errors.New(`not a cursor: want "<log>:<offset>" as the server gave it`)
	// ErrNotFound: there is no such client, namespace or stored key.
	ErrNotFound = errors.New("no such client, namespace or key")
	// ErrDeleted: the namespace was deleted while a subscription to it was open.
	ErrDeleted = errors.New("namespace was deleted")
	// ErrForgotten: the subscription's client was forgotten. The subscription gets no more events.
	ErrForgotten = errors.New("the client was forgotten")
	// ErrTooManyRooms: the client is in as many rooms as it may be, or has left so many rooms within
	// retention that its reads still look at ten times that number.
	ErrTooManyRooms = errors.New("the client is in too many rooms")
	// ErrRoomQuota: the client has made as many rooms as it may, or the namespace has as many as it may.
	ErrRoomQuota = errors.New("a new room is over the quota of rooms that the client may make, or the namespace may have")
	// ErrNoAsk: the event asks for no reply, or not for one by this client, or it does not exist any more.
	ErrNoAsk = errors.New("no event of this offset asks for a reply")
	// ErrReplyClosed: the time for replies is over, or as many as were asked for have come.
	ErrReplyClosed = errors.New("replies to this event are no longer taken")
	// ErrLeaseLost is the cause with which a handler's context ends when its lease has
	// expired, so that another instance may run the event.
	ErrLeaseLost = errors.New("the lease on the event was lost")
	// ErrNoHandler: no handler of this name was ever registered.
	ErrNoHandler = errors.New("no such handler")
	// ErrHandlerLive: some instance is running the handler.
	ErrHandlerLive = errors.New("the handler is running somewhere")
	// ErrSyntax: data is not JSON.
	ErrSyntax = errors.New("not valid JSON")
	// ErrTooDeep: data is nested deeper than MaxDepth.
	ErrTooDeep = errors.New("nested too deep")
	// ErrTooLarge: data is longer than MaxData.
	ErrTooLarge = errors.New("too large")
)

// InvalidError says which field of a request cannot be accepted and why.
type InvalidError struct {
	Field  string // as the caller named it: "room", "event", "key", …
	Reason string // continues "Field …"
	Err    error  // ErrSyntax, ErrTooDeep, ErrTooLarge, or nil for any other reason
}

// Error returns "<field> <reason>".
func (e *InvalidError) Error() string { return e.Field + " " + e.Reason }

// Unwrap returns Err.
func (e *InvalidError) Unwrap() error { return e.Err }

// Invalid returns an *InvalidError; reason continues "Field …".
func Invalid(field, reason string) error { return &InvalidError{Field: field, Reason: reason} }

// Invalidf is Invalid with a format.
func Invalidf(field, format string, args ...any) error {
	return Invalid(field, fmt.Sprintf(format, args...))
}
