package api

import (
	"strconv"
	"time"

	"github.com/r3labs/sse/v2"

	"github.com/culvertmq/culvert/event"
)

// hello is what a stream begins with.
type hello struct {
	client            event.Client
	cursor            event.Cursor
	log               string
	heartbeat, maxAge time.Duration
	settle            time.Duration // the first pauses are no longer
	at                time.Time
	// retry is how long a client waits after a connection that broke.
	retry time.Duration
	// id makes the cursor the client's position. It is left out for a client
	// that sent one: a gap still to come must survive the connection.
	id bool
}

func (m hello) frame() []byte {
	b := appendClient([]byte(`{"client":`), m.client)
	b = appendCursor(append(b, `,"cursor":`...), m.cursor)
	b = append(b, `,"log":`...)
	b = appendString(b, m.log)
	b = append(b, `,"heartbeat":`...)
	b = appendSeconds(b, m.heartbeat)
	b = append(b, `,"max_age":`...)
	b = appendSeconds(b, m.maxAge)
	b = append(b, `,"settle":`...)
	b = appendSeconds(b, m.settle)
	b = append(b, `,"at":`...)
	b = appendTime(b, m.at)
	f := sse.Event{Event: []byte("culvert:hello"), Data: append(b, '}'), Retry: milliseconds(m.retry)}
	if m.id {
		f.ID = m.cursor.Append(nil)
	}
	return appendFrame(nil, &f)
}

func heartbeatFrame(cursor event.Cursor, at time.Time) []byte {
	b := appendTime([]byte(`{"at":`), at)
	return appendFrame(nil, &sse.Event{
		ID: cursor.Append(nil), Event: []byte("culvert:heartbeat"), Data: append(b, '}'),
	})
}

// gapFrame has no id: a client that loses the connection before the next event
// learns of the gap again.
func gapFrame(g *event.Gap) []byte {
	return appendFrame(nil, &sse.Event{Event: []byte("culvert:gap"), Data: appendGap(nil, g)})
}

func appendGap(b []byte, g *event.Gap) []byte {
	b = appendCursor(append(b, `{"from":`...), g.From)
	b = appendCursor(append(b, `,"to":`...), g.To)
	b = append(b, `,"reason":`...)
	b = appendString(b, g.Reason)
	return append(b, '}')
}

// reconnectFrame carries the delay as retry, too, for plain EventSources.
func reconnectFrame(reason string, after time.Duration) []byte {
	b := appendString([]byte(`{"reason":`), reason)
	b = appendSeconds(append(b, `,"after":`...), after)
	return appendFrame(nil, &sse.Event{
		Event: []byte("culvert:reconnect"), Data: append(b, '}'), Retry: milliseconds(after),
	})
}

func milliseconds(d time.Duration) []byte { return strconv.AppendInt(nil, d.Milliseconds(), 10) }
