package queue

import "time"

// Between attempts is firstPause, and each time twice as much, up to maxPause.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
)

// readTimeout is how long a read may take.
const readTimeout = 15 * time.Second
