package event

import "time"

// Ask says that an event asks for replies.
type Ask struct {
	// Timeout is how long replies are taken, from MinAsk to MaxAsk; zero: the event does not ask.
	Timeout time.Duration
	// Count is how many replies are taken, at most MaxReplies; later ones are refused.
	// 0: all receivers of the event may reply, and one reply is expected from each
	// client that was online in its rooms when it was emitted, the sender
	// included unless it is excepted.
	Count int
}

// Limits of an Ask.
const (
	MinAsk     = 50 * time.Millisecond
	MaxAsk     = 24 * time.Hour
	MaxReplies = 10_000
)

// Wanted reports whether the event asks for replies.
func (a Ask) Wanted() bool { return a != Ask{} }

// Milliseconds is the Timeout in milliseconds. It fits into an int32 because MaxAsk does.
func (a Ask) Milliseconds() int32 { return int32(a.Timeout.Milliseconds()) } //nolint:gosec // checked

// Until is when the time for replies ends, for an event stored at a time; zero if the event does not ask.
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
		return Invalid("reply.timeout", "must be from 0.05 to 86400 seconds")
	case a.Count < 0 || a.Count > MaxReplies:
		return Invalidf("reply.count", "must be from 1 to %d", MaxReplies)
	}
	return nil
}
