package cmd

import (
	"log/slog"
	"time"
)

// Config is everything serve can be told; settings holds the names, defaults
// and limits of its fields.
type Config struct {
	Listen      string // address of the API
	AdminListen string // address of metrics and console; empty: none

	DatabaseURL       string // empty: a private Postgres under Data
	ListenDatabaseURL string // direct DSN for LISTEN and migrations; empty: DatabaseURL
	Data              string // folder of the private Postgres and of generated secrets
	Migrate           bool   // apply migrations at start

	APIKeys     []string
	JWTSecret   string
	CORSOrigins []string

	Heartbeat time.Duration // silence on a stream before a heartbeat frame
	MaxAge    time.Duration // life of a stream before the client is asked to come back
	MaxWait   time.Duration // longest long poll

	MaxRooms int // rooms a client may be in

	Retention       time.Duration // age of events kept
	RetentionEvents int64         // number of events kept; 0: any
	Slice           time.Duration // retention grain
	SliceEvents     int64         // events that close a slice early
	DedupWindow     time.Duration // how long idempotency keys are remembered
	PollOnly        bool          // no LISTEN
	Poll            time.Duration // how often the head is looked at; 0: the queue's default

	LogLevel  slog.Level
	LogFormat string        // json, text, or empty: by what standard error is
	Drain     time.Duration // from readyz failing to the listener closing
}

// directURL is the DSN of a session of its own, for what a transaction pooler
// cannot carry.
func (c *Config) directURL() string {
	if c.ListenDatabaseURL != "" {
		return c.ListenDatabaseURL
	}
	return c.DatabaseURL
}
