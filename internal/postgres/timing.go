package postgres

import "time"

// The pause between attempts begins with FirstPause and doubles each time, up to MaxPause.
const (
	FirstPause = 100 * time.Millisecond
	MaxPause   = 5 * time.Second
)

// ReadTimeout is how long a read may take.
const ReadTimeout = 15 * time.Second
