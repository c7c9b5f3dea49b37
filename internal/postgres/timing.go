package postgres

import "time"

// Between attempts is FirstPause, and each time twice as much, up to MaxPause.
const (
	FirstPause = 100 * time.Millisecond
	MaxPause   = 5 * time.Second
)

// ReadTimeout is how long a read may take.
const ReadTimeout = 15 * time.Second
