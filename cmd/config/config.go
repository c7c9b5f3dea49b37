package config

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/culvertmq/culvert/api"
	"github.com/culvertmq/culvert/event"
)

// Config is everything serve can be told; settings holds the names, defaults
// and limits of its fields.
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
	// AllowWeakSecrets takes short API keys and a short JWTSecret.
	AllowWeakSecrets bool
	JWTPublicKey     string // PEM
	JWKSURL          string
	JWTAlgorithms    []string // empty: those the keys are for
	JWTAudience      []string // empty: any
	JWTIssuer        string   // empty: any
	JWTLeeway        time.Duration
	CORSOrigins      []string
	Demo             bool // a chat at /demo/, with tokens for everybody

	Heartbeat time.Duration // silence on a stream before a heartbeat frame
	MaxAge    time.Duration // life of a stream before the client is asked to come back
	MaxWait   time.Duration // longest long poll

	MaxRooms int // rooms a client may be in
	// Rooms that a client may make, and that a namespace may have; 0: any number.
	MaxRoomsMadeClient, MaxRoomsNamespace int

	// Limits of this instance; 0: none.
	RateNamespace, RateClient                     int64 // events a second
	RateRequests                                  int64 // other requests of a client a second
	RateBurst                                     time.Duration
	MaxConnectionsNamespace, MaxConnectionsClient int
	MaxConnectionsInstance                        int
	MaxRequests                                   int // under way, without those that are connections
	MaxRequestsNamespace, MaxRequestsClient       int
	MaxMemory                                     int // MiB of bodies and answers
	MaxMemoryNamespace, MaxMemoryClient           int
	MaxAnonymous, MaxAnonymousAddress             int // requests and connections without credentials

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

// DirectURL is the DSN of a session of its own, for what a transaction pooler
// cannot carry.
func (c *Config) DirectURL() string {
	if c.ListenDatabaseURL != "" {
		return c.ListenDatabaseURL
	}
	return c.DatabaseURL
}

// takesTokens reports whether there is anything to verify tokens with.
func (c *Config) takesTokens() bool {
	return c.JWTSecret != "" || c.JWTPublicKey != "" || c.JWKSURL != ""
}

// Options are the settings that concern the API.
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
		JWTLeeway:     cmp.Or(c.JWTLeeway, -1), // 0 would be the default
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
