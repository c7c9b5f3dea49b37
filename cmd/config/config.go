package config

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/culvertmq/culvert/api"
	"github.com/culvertmq/culvert/event"
)

// Config has all settings of serve. Settings has the names, defaults and limits of its fields.
type Config struct {
	Listen      string // address of the API
	AdminListen string // address of metrics and health; empty: none

	DatabaseURL       string // empty: a private Postgres under Data
	ListenDatabaseURL string // direct DSN for LISTEN and migrations; empty: DatabaseURL
	MaxConnections    int    // to Postgres, in all
	Data              string // folder of the private Postgres and of generated secrets
	Migrate           bool   // apply migrations at start

	APIKeys   []string
	JWTSecret string
	// AllowWeakSecrets accepts short API keys and a short JWTSecret.
	AllowWeakSecrets bool
	JWTPublicKey     string // PEM
	JWKSURL          string
	JWTAlgorithms    []string // empty: all that the keys are for
	JWTAudience      []string // empty: any
	JWTIssuer        string   // empty: any
	JWTLeeway        time.Duration
	CORSOrigins      []string
	Demo             bool // a chat at /demo/, with tokens for everybody

	Heartbeat time.Duration // silence on a stream before a heartbeat frame
	MaxAge    time.Duration // how long a stream lasts before its client is told to reconnect
	MaxWait   time.Duration // longest long poll
	// SessionIdle is how long clients are remembered between two long polls; 0: not at all.
	SessionIdle time.Duration

	MaxRooms int // rooms a client may be in
	// How many rooms a client may make, and a namespace may have; 0: no limit.
	MaxRoomsMadeClient, MaxRoomsNamespace int

	// Limits of this instance; 0: no limit.
	RateNamespace, RateClient                     int64 // events a second
	RateRequests                                  int64 // other requests of a client a second
	RateBurst                                     time.Duration
	MaxConnectionsNamespace, MaxConnectionsClient int
	MaxConnectionsInstance                        int
	MaxRequests                                   int // requests under way, without connections
	MaxRequestsNamespace, MaxRequestsClient       int
	MaxMemory                                     int // MiB of bodies and answers
	MaxMemoryNamespace, MaxMemoryClient           int
	MaxAnonymous, MaxAnonymousAddress             int // requests and connections without credentials

	Retention       time.Duration // age of events kept
	RetentionEvents int64         // number of events kept; 0: any
	Slice           time.Duration // the span of time in one slice
	SliceEvents     int64         // number of events after which a slice is closed early
	DedupWindow     time.Duration // how long idempotency keys are remembered
	PollOnly        bool          // do not use LISTEN
	Poll            time.Duration // how often the head is read; 0: the queue's default

	LogLevel  slog.Level
	LogFormat string        // json, text, or empty: text on a terminal, json elsewhere
	Drain     time.Duration // time between readyz failing and the listener closing
}

// DirectURL returns the DSN of a direct connection, for what a transaction pooler does not support.
func (c *Config) DirectURL() string {
	if c.ListenDatabaseURL != "" {
		return c.ListenDatabaseURL
	}
	return c.DatabaseURL
}

// takesTokens reports whether a key to verify tokens with is configured.
func (c *Config) takesTokens() bool {
	return c.JWTSecret != "" || c.JWTPublicKey != "" || c.JWKSURL != ""
}

// Options returns the settings of the API.
func (c *Config) Options() api.Options {
	return api.Options{
		APIKeys:   c.APIKeys,
		JWTSecret: []byte(c.JWTSecret),

		AllowWeakSecrets: c.AllowWeakSecrets,

		JWTPublicKey:  []byte(c.JWTPublicKey),
		JWKSURL:       c.JWKSURL,
		JWTAlgorithms: c.JWTAlgorithms,
		JWTAudience:   c.JWTAudience,
		JWTIssuer:     c.JWTIssuer,
		JWTLeeway:     cmp.Or(c.JWTLeeway, -1), // 0 would mean the default
		Heartbeat:     c.Heartbeat,
		MaxAge:        c.MaxAge,
		MaxWait:       c.MaxWait,
		MaxRooms:      c.MaxRooms,
		CORSOrigins:   c.CORSOrigins,
		RoomQuota:     &event.RoomQuota{Client: c.MaxRoomsMadeClient, Namespace: c.MaxRoomsNamespace},
		Limits: &api.Limits{
			NamespaceRate:        float64(c.RateNamespace),
			ClientRate:           float64(c.RateClient),
			RequestRate:          float64(c.RateRequests),
			Burst:                c.RateBurst,
			NamespaceConnections: c.MaxConnectionsNamespace,
			ClientConnections:    c.MaxConnectionsClient,
			Connections:          c.MaxConnectionsInstance,
			Requests:             c.MaxRequests,
			NamespaceRequests:    c.MaxRequestsNamespace,
			ClientRequests:       c.MaxRequestsClient,
			Bytes:                c.MaxMemory << 20,
			NamespaceBytes:       c.MaxMemoryNamespace << 20,
			ClientBytes:          c.MaxMemoryClient << 20,
			Anonymous:            c.MaxAnonymous,
			AnonymousAddress:     c.MaxAnonymousAddress,
		},
	}
}
