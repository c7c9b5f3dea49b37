package wire

import (
	"strconv"
	"time"

	"github.com/r3labs/sse/v2"

	"github.com/culvertmq/culvert/event"
)

// Hello is the first frame of a stream.
type Hello struct {
	Client            event.Client
	Cursor            event.Cursor
	Log               string
	Heartbeat, MaxAge time.Duration
	Settle            time.Duration // the first pauses between frames are at most this long
	At                time.Time
	// Retry is how long a client waits before it reconnects after a broken connection.
	Retry time.Duration
	// ID says whether the frame carries the cursor as its id. It does not for a client that sent a cursor: if
	// the connection breaks before the gap is sent, the client must reconnect with its old cursor.
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

// HeartbeatFrame is culvert:heartbeat. It moves the client's position to the cursor.
func HeartbeatFrame(cursor event.Cursor, at time.Time) []byte {
	b := AppendTime([]byte(`{"at":`), at)
	return appendFrame(nil, &sse.Event{
		ID: cursor.Append(nil), Event: []byte("culvert:heartbeat"), Data: append(b, '}'),
	})
}

// GapFrame is culvert:gap. It has no id: a client that loses the connection before the next event receives the
// gap again.
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

// ReconnectFrame is culvert:reconnect, the last frame of a stream. It also carries the delay as retry, for
// plain EventSources.
func ReconnectFrame(reason string, after time.Duration) []byte {
	b := AppendString([]byte(`{"reason":`), reason)
	b = AppendSeconds(append(b, `,"after":`...), after)
	return appendFrame(nil, &sse.Event{
		Event: []byte("culvert:reconnect"), Data: append(b, '}'), Retry: milliseconds(after),
	})
}

func milliseconds(d time.Duration) []byte { return strconv.AppendInt(nil, d.Milliseconds(), 10) }
