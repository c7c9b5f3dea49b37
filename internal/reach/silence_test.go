package reach

import (
	"testing"
	"time"
)

// single returns the cost of an acknowledgement that no poll carries, and of opening a
// stream, with hello and the heartbeat that ends the first pause.
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

// idleStream returns the cost of two intervals between heartbeats: 30 s.
func idleStream(t *testing.T, s *scene) traffic {
	v, _, cursor := guest(t, s)
	stream := v.stream(cursor)
	defer stream.close()
	stream.expect("culvert:heartbeat") // ends the first pause, which is short
	before := v.meter.read()
	for range 2 {
		stream.expect("culvert:heartbeat")
	}
	return v.meter.since(before).minute(30 * time.Second)
}

// idlePoll returns the cost of one poll of 25 s.
func idlePoll(t *testing.T, s *scene) traffic {
	v, _, cursor := guest(t, s)
	before := v.meter.read()
	v.poll(cursor, 25)
	return v.meter.since(before).minute(25 * time.Second)
}

// idleShortPoll returns the cost of as many polls as a client makes in a minute, one every 1 to 3 s. They
// are made without pauses.
func idleShortPoll(t *testing.T, s *scene) traffic {
	v, _, cursor := guest(t, s)
	before := v.meter.read()
	for range 30 {
		cursor = v.poll(cursor, 0).Cursor
	}
	return v.meter.since(before)
}

// minute returns the traffic scaled to a minute.
func (t traffic) minute(took time.Duration) traffic {
	scale := func(n int64) int64 { return n * int64(time.Minute) / int64(took) }
	return traffic{scale(t.up), scale(t.down)}
}
