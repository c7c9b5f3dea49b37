package reach

import (
	"testing"
	"time"
)

// single is what an acknowledgement costs that no poll carries, and what opening a
// stream does: hello, and the heartbeat that ends the first pause.
func single(t *testing.T, s *scene) (ack, open traffic) {
	v, room, _ := guest(t, s)
	cursors := make([]string, 0, many)
	for range many {
		cursors = append(cursors, v.post("/emit", message(room, line)))
	}
	before := v.meter.read()
	for _, c := range cursors {
		v.post("/ack", `{"cursor":"`+c+`"}`)
	}
	ack = v.meter.since(before).per(many)
	v.http.CloseIdleConnections()
	before = v.meter.read()
	stream := v.stream(cursors[many-1])
	stream.expect("culvert:heartbeat")
	stream.close()
	return ack, v.meter.since(before)
}

// idleStream is a stream from one heartbeat to the second after it: 30 s.
func idleStream(t *testing.T, s *scene) traffic {
	v, _, cursor := guest(t, s)
	stream := v.stream(cursor)
	defer stream.close()
	stream.expect("culvert:heartbeat") // of the first pause, which is short
	before := v.meter.read()
	for range 2 {
		stream.expect("culvert:heartbeat")
	}
	return v.meter.since(before).minute(30 * time.Second)
}

// idlePoll is one poll of 25 s.
func idlePoll(t *testing.T, s *scene) traffic {
	v, _, cursor := guest(t, s)
	before := v.meter.read()
	v.poll(cursor, 25)
	return v.meter.since(before).minute(25 * time.Second)
}

// idleShortPoll is as many polls as a client makes in a minute, one every 1 to 3 s,
// without the pauses.
func idleShortPoll(t *testing.T, s *scene) traffic {
	v, _, cursor := guest(t, s)
	before := v.meter.read()
	for range 30 {
		cursor = v.poll(cursor, 0).Cursor
	}
	return v.meter.since(before)
}

// minute is what it would be in one.
func (t traffic) minute(took time.Duration) traffic {
	scale := func(n int64) int64 { return n * int64(time.Minute) / int64(took) }
	return traffic{scale(t.up), scale(t.down)}
}
