package wire

import (
	"strconv"
	"time"

	"github.com/r3labs/sse/v2"

	"github.com/culvertmq/culvert/event"
)

// Hello is what a stream begins with.
type Hello struct {
	Client            event.Client
	Cursor            event.Cursor
	Log               string
	Heartbeat, MaxAge time.Duration
	Settle            time.Duration // the first pauses are no longer
	At                time.Time
	// Retry is how long a client waits after a connection that broke.
	Retry time.Duration
	// ID makes the cursor the client's position. It is left out for a client
	// that sent one: a gap still to come must survive the connection.
	ID bool
}

// Frame is culvert:hello.
func (m Hello) Frame() []byte {
	b := AppendClient([]byte(`{"client":`), m.Client)
	b = AppendCursor(append(b, `,"cursor":`...), m.Cursor)
	b = append(b, `,"log":`...)
	b = AppendString(b, m.Log)
	b = append(b, `,"heartbeat":`...)
	b = AppendSeconds(b, m.Heartbeat)
	b = append(b, `,"max_age":`...)
	b = AppendSeconds(b, m.MaxAge)
	b = append(b, `,"settle":`...)
	b = AppendSeconds(b, m.Settle)
	b = append(b, `,"at":`...)
	b = AppendTime(b, m.At)
	f := sse.Event{Event: []byte("culvert:hello"), Data: append(b, '}'), Retry: milliseconds(m.Retry)}
	if m.ID {
		f.ID = m.Cursor.Append(nil)
	}
	return appendFrame(nil, &f)
}

// HeartbeatFrame is culvert:heartbeat, which moves the client's position to the cursor.
func HeartbeatFrame(cursor event.Cursor, at time.Time) []byte {
	b := AppendTime([]byte(`{"at":`), at)
	return appendFrame(nil, &sse.Event{
		ID: cursor.Append(nil), Event: []byte("culvert:heartbeat"), Data: append(b, '}'),
	})
}

// GapFrame is culvert:gap. It has no id: a client that loses the connection before the next event
// learns of the gap again.
func GapFrame(g *event.Gap) []byte {
	return appendFrame(nil, &sse.Event{Event: []byte("culvert:gap"), Data: AppendGap(nil, g)})
}

// AppendGap adds a gap's JSON.
func AppendGap(b []byte, g *event.Gap) []byte {
	b = AppendCursor(append(b, `{"from":`...), g.From)
	b = AppendCursor(append(b, `,"to":`...), g.To)
	b = append(b, `,"reason":`...)
	b = AppendString(b, g.Reason)
	return append(b, '}')
}

// ReconnectFrame is culvert:reconnect, the last frame of a stream. It carries the delay as retry, too, for plain EventSources.
func ReconnectFrame(reason string, after time.Duration) []byte {
	b := AppendString([]byte(`{"reason":`), reason)
	b = AppendSeconds(append(b, `,"after":`...), after)
	return appendFrame(nil, &sse.Event{
		Event: []byte("culvert:reconnect"), Data: append(b, '}'), Retry: milliseconds(after),
	})
}

func milliseconds(d time.Duration) []byte { return strconv.AppendInt(nil, d.Milliseconds(), 10) }
