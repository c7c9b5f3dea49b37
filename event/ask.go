package event

import "time"

// Ask asks for replies to an event.
type Ask struct {
	// Timeout is how long replies are accepted, from MinAsk to MaxAsk; zero: none are wanted.
	Timeout time.Duration
	// Count is how many replies are accepted, at most MaxReplies. 0: everybody the event is for may reply, and
	// one reply is expected from each client that was online in the event's rooms when it was emitted, the
	// sender included unless it is excepted.
	Count int
}

// Limits of an Ask.
const (
	MinAsk     = 50 * time.Millisecond
	MaxAsk     = 24 * time.Hour
	MaxReplies = 10_000
)

// Wanted reports whether the event wants replies.
func (a Ask) Wanted() bool { return a != Ask{} }

// Milliseconds returns the Timeout in milliseconds. It fits because MaxAsk does.
func (a Ask) Milliseconds() int32 { return int32(a.Timeout.Milliseconds()) } //nolint:gosec // checked

// Until returns when the time for replies to an event stored at a time is over; zero if none are wanted.
func (a Ask) Until(at time.Time) time.Time {
	if !a.Wanted() {
		return time.Time{}
	}
	return at.Add(time.Duration(a.Milliseconds()) * time.Millisecond)
}

func (a Ask) check() error {
	switch {
	case !a.Wanted():
		return nil
	case a.Timeout < MinAsk || a.Timeout > MaxAsk:
		return Invalid("reply.timeout", "must be 0.05 to 86400 seconds")
	case a.Count < 0 || a.Count > MaxReplies:
		return Invalidf("reply.count", "must be 1 to %d", MaxReplies)
	}
	return nil
}
