package postgres

import "time"

// The first pause between attempts is FirstPause; each one is twice as long as the last, up to MaxPause.
const (
	FirstPause = 100 * time.Millisecond
	MaxPause   = 5 * time.Second
)

// ReadTimeout is how long a read may take.
const ReadTimeout = 15 * time.Second
