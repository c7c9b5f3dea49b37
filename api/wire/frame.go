package wire

import (
	"bytes"
	"strconv"

	"github.com/r3labs/sse/v2"

	"github.com/culvertmq/culvert/event"
)

// appendFrame makes all bytes of every stream (HTML, 9.2.5). A parser drops one space after each colon, so one
// is written there, and a value may itself begin with a space. Values are validated before. As a second
// defence, a line break in a value is replaced by a space here.
func appendFrame(b []byte, e *sse.Event) []byte {
	if len(e.ID) > 0 {
		b = appendField(b, "id: ", e.ID)
	}
	if len(e.Event) > 0 {
		b = appendField(b, "event: ", e.Event)
	}
	if len(e.Retry) > 0 {
		b = appendField(b, "retry: ", e.Retry)
	}
	b = appendField(b, "data: ", e.Data)
	return append(b, '\n')
}

func appendField(b []byte, name string, value []byte) []byte {
	b = append(b, name...)
	start := len(b)
	b = append(b, value...)
	for i := start; ; i++ {
		n := bytes.IndexAny(b[i:], "\r\n\x00")
		if n < 0 {
			return append(b, '\n')
		}
		i += n
		b[i] = ' ' // in JSON a line break can only be between tokens
	}
}

// scratch holds the JSON of an event while its frame is made.
var scratch Buffers

// framed is the key under which an event keeps the result of encodeEvent; see event.Event.Wire.
type framed struct{}

// EventFrame returns the frame of an event. It is encoded once, for all streams: see event.Event.Wire.
func EventFrame(e *event.Event) []byte { return e.Wire(framed{}, encodeEvent) }

// encodeEvent is the only encoder of events; event.Event.Wire keeps its result.
func encodeEvent(e *event.Event) []byte {
	buf := scratch.Get()
	defer scratch.Put(buf)
	*buf = appendEvent(*buf, e)
	var id [48]byte
	f := sse.Event{Event: []byte(e.Name), Data: *buf}
	if !e.Volatile() { // a volatile event has no offset to resume from
		f.ID = e.Cursor().Append(id[:0])
	}
	return appendFrame(make([]byte, 0, len(f.ID)+len(f.Event)+len(f.Data)+len("id: \nevent: \ndata: \n\n")), &f)
}

var dataLine = []byte("\ndata: ")

// EventJSON returns the JSON inside an event's frame. It is in the first line that begins with "data: ": the
// lines before have no line breaks in their values.
func EventJSON(e *event.Event) []byte {
	frame := EventFrame(e)
	i := bytes.Index(frame, dataLine) + len(dataLine)
	return frame[i : len(frame)-2]
}

// appendEvent adds an event's JSON. The protocol's examples show this order of the fields.
func appendEvent(b []byte, e *event.Event) []byte {
	b = append(b, '{')
	if !e.Volatile() {
		b = append(b, `"offset":`...)
		b = strconv.AppendInt(b, int64(e.Offset), 10)
		b = append(b, ',')
	}
	b = append(b, `"room":`...)
	b = AppendString(b, e.Room.String())
	b = append(b, `,"event":`...)
	b = AppendString(b, e.Name)
	if e.Binary {
		b = append(b, `,"binary":`...)
	} else {
		b = append(b, `,"data":`...)
	}
	b = append(b, e.Data...)
	b = append(b, `,"from":`...)
	b = AppendClient(b, e.From)
	b = append(b, `,"at":`...)
	b = AppendTime(b, e.At)
	if !e.ReplyUntil.IsZero() {
		b = AppendTime(append(b, `,"reply":{"until":`...), e.ReplyUntil)
		b = append(b, '}')
	}
	return append(b, '}')
}
