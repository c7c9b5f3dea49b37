package cmd

import (
	"encoding/json"
	"time"

	"github.com/r3labs/sse/v2"
)

// hello is the first frame of a stream. It says how long silence may last.
func (l *follower) hello(frame *sse.Event) (silence time.Duration, err error) {
	var hello struct {
		Cursor    string  `json:"cursor"`
		Heartbeat float64 `json:"heartbeat"` // seconds
	}
	if err := json.Unmarshal(frame.Data, &hello); err != nil || hello.Heartbeat <= 0 {
		return 0, responsef("its first frame is %q", shorten(printable(string(frame.Data)), 100))
	}
	if l.cursor == "" {
		l.cursor = hello.Cursor
	}
	l.alive()
	return time.Duration(2.5 * hello.Heartbeat * float64(time.Second)), nil
}

// take acts on any frame but the first.
func (l *follower) take(frame *sse.Event) error {
	switch string(frame.Event) {
	case "culvert:heartbeat":
		if len(frame.ID) > 0 {
			l.cursor = string(frame.ID)
		}
		return nil
	case "culvert:gap":
		var g gap
		if err := json.Unmarshal(frame.Data, &g); err != nil {
			return responsef("a gap in it is not as expected: %v", err)
		}
		l.report(g)
		return nil
	case "culvert:reconnect":
		var asked struct {
			Reason string  `json:"reason"`
			After  float64 `json:"after"` // seconds
		}
		if err := json.Unmarshal(frame.Data, &asked); err != nil {
			return responsef("the last frame in it is not as expected: %v", err)
		}
		after := time.Duration(asked.After * float64(time.Second))
		return &comeBack{asked.Reason, min(max(after, 0), maxRetryAfter)}
	}
	if len(frame.Event) == 0 || len(frame.ID) == 0 {
		return nil // control frames of a later server carry no position
	}
	return l.deliver(frame.Data, string(frame.ID))
}
