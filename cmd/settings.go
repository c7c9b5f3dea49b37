package cmd

import (
	"strings"
	"time"
)

// setting is one field of Config as the operator knows it: a flag, a variable
// and a line of the configuration file, all of the same name.
type setting struct {
	name string
	def  string
	kind string // of the value, for help: address, seconds, duration, …
	help string
	// secret values are masked wherever they are shown and can come from a file
	// named by the variable with _FILE; with file alone they are only the latter.
	secret, file bool
	// blank: an empty value means something. Elsewhere an empty variable is one
	// that is not set, which is how composers pass on what they do not have.
	blank bool
	// set reads the value; its error says what is wrong with it and what to do.
	set func(*Config, string) error
}

// variable is the environment variable of the setting.
func (s setting) variable() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

// fromFile reports whether the value can come from a file of its own.
func (s setting) fromFile() bool { return s.secret || s.file }

// settings lists every setting in the order config check shows them.
var settings = []setting{
	{name: "listen", def: "127.0.0.1:8080", kind: "address", set: setListen,
		help: "address of the API; the variable PORT alone sets its port on all interfaces"},
	{name: "admin-listen", def: "127.0.0.1:8081", kind: "address", blank: true, set: setAdminListen,
		help: "address of metrics and console; empty turns it off"},
	{name: "database-url", kind: "dsn", secret: true, set: setDSN(func(c *Config) *string { return &c.DatabaseURL }),
		help: "Postgres, also from DATABASE_URL; without it 'culvert serve' runs a private Postgres under its --data"},
	{name: "listen-database-url", kind: "dsn", secret: true, set: setDSN(func(c *Config) *string { return &c.ListenDatabaseURL }),
		help: "direct Postgres connection for LISTEN and migrations, where --database-url leads through a transaction pooler"},
	{name: "max-connections", def: "10", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxConnections }, 5, 10_000),
		help: "connections to Postgres that this instance opens at most, the one that listens included"},
	{name: "data", kind: "folder", set: setText(func(c *Config) *string { return &c.Data }),
		help: "folder for the private Postgres and generated secrets (default: the user's data folder)"},
	{name: "migrate", def: "true", kind: "bool", set: setBool(func(c *Config) *bool { return &c.Migrate }),
		help: "bring the database schema up to date at start"},
	{name: "api-keys", kind: "keys", secret: true, set: setAPIKeys,
		help: "comma-separated keys valid for every namespace, of 16 characters at least"},
	{name: "jwt-secret", kind: "secret", secret: true, set: setText(func(c *Config) *string { return &c.JWTSecret }),
		help: "HMAC secret for tokens, of 32 bytes at least"},
	{name: "allow-weak-secrets", def: "false", kind: "bool", set: setBool(func(c *Config) *bool { return &c.AllowWeakSecrets }),
		help: "take API keys below 16 characters and a JWT secret below 32 bytes, which can be guessed"},
	{name: "jwt-public-key", kind: "pem", file: true, set: setPublicKey,
		help: "public key for tokens (RS256, ES256 or EdDSA, by its type): PEM, one block or several"},
	{name: "jwt-jwks-url", kind: "url", set: setText(func(c *Config) *string { return &c.JWKSURL }),
		help: "where an issuer publishes its keys for tokens: https, or http on a loopback address"},
	{name: "jwt-algorithms", kind: "names", set: setList(func(c *Config) *[]string { return &c.JWTAlgorithms }),
		help: "comma-separated algorithms to accept, of HS256, HS384, HS512, RS256, ES256, EdDSA (default: all that the keys are for)"},
	{name: "jwt-audience", kind: "names", set: setList(func(c *Config) *[]string { return &c.JWTAudience }),
		help: "comma-separated audiences, one of which a token's aud must name (default: aud is ignored)"},
	{name: "jwt-issuer", kind: "name", set: setText(func(c *Config) *string { return &c.JWTIssuer }),
		help: "what a token's iss must be (default: iss is ignored)"},
	{name: "jwt-leeway", def: "5", kind: "seconds", set: setSeconds(func(c *Config) *time.Duration { return &c.JWTLeeway }, 0, maxLeeway),
		help: "how far the issuer's clock may be ahead: nbf and iat are forgiven so much, exp is exact"},
	{name: "cors-origins", kind: "origins", set: setCORSOrigins,
		help: "comma-separated origins that may call from a browser, such as https://app.example.com"},
	{name: "demo", def: "false", kind: "bool", set: setBool(func(c *Config) *bool { return &c.Demo }),
		help: "serve a chat at /demo/ that lets in everybody who reaches the server: for this machine, not for production"},
	{name: "heartbeat", def: "15", kind: "seconds", set: setSeconds(func(c *Config) *time.Duration { return &c.Heartbeat }, minHeartbeat, maxHeartbeat),
		help: "silence on a stream before a heartbeat"},
	{name: "max-age", def: "3300", kind: "seconds", set: setSeconds(func(c *Config) *time.Duration { return &c.MaxAge }, minMaxAge, maxMaxAge),
		help: "life of a stream before its client is asked to come back"},
	{name: "max-wait", def: "50", kind: "seconds", set: setSeconds(func(c *Config) *time.Duration { return &c.MaxWait }, minMaxWait, maxMaxWait),
		help: "longest time a long poll is held"},
	{name: "max-rooms", def: "1000", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxRooms }, 1, 1_000_000),
		help: "rooms a client may be in"},
	{name: "max-rooms-made-client", def: "10000", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxRoomsMadeClient }, 0, 1_000_000_000),
		help: "rooms that a client may make in a namespace with its tokens, by emitting or joining; 0 is no limit"},
	{name: "max-rooms-namespace", def: "1000000", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxRoomsNamespace }, 0, 1_000_000_000),
		help: "rooms of a namespace beyond which requests make no new ones; those that culvert.emit makes count; 0 is no limit"},
	{name: "rate-namespace", def: "100000", kind: "number", set: setNumber(func(c *Config) *int64 { return &c.RateNamespace }, 0, 1_000_000_000),
		help: "events a second that a namespace may emit to this instance; 0 is no limit, here and below"},
	{name: "rate-client", def: "500", kind: "number", set: setNumber(func(c *Config) *int64 { return &c.RateClient }, 0, 1_000_000_000),
		help: "events a second that a client may emit to this instance"},
	{name: "rate-requests", def: "500", kind: "number", set: setNumber(func(c *Config) *int64 { return &c.RateRequests }, 0, 1_000_000_000),
		help: "other requests a second that a client may send to this instance"},
	{name: "rate-burst", def: "10", kind: "seconds", set: setSeconds(func(c *Config) *time.Duration { return &c.RateBurst }, minBurst, maxBurst),
		help: "how many seconds' worth of a rate may come at once"},
	{name: "max-connections-namespace", def: "50000", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxConnectionsNamespace }, 0, 1_000_000_000),
		help: "streams, held long polls, waiting emits and NDJSON uploads of a namespace at once on this instance"},
	{name: "max-connections-client", def: "32", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxConnectionsClient }, 0, 1_000_000_000),
		help: "the same of a client"},
	{name: "max-connections-instance", def: "100000", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxConnectionsInstance }, 0, 1_000_000_000),
		help: "the same of all namespaces together"},
	{name: "max-requests-client", def: "256", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxRequestsClient }, 0, 1_000_000_000),
		help: "all other requests of a client that are under way at once on this instance"},
	{name: "max-requests-namespace", def: "10000", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxRequestsNamespace }, 0, 1_000_000_000),
		help: "the same of a namespace; one API key may have half of them"},
	{name: "max-requests", def: "20000", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxRequests }, 0, 1_000_000_000),
		help: "the same of all namespaces together"},
	{name: "max-memory-client", def: "32", kind: "MiB", set: setMiB(func(c *Config) *int { return &c.MaxMemoryClient }),
		help: "memory that the bodies and answers of a client's requests may hold on this instance; a byte counts twice"},
	{name: "max-memory-namespace", def: "256", kind: "MiB", set: setMiB(func(c *Config) *int { return &c.MaxMemoryNamespace }),
		help: "the same of a namespace; one API key may have half of it"},
	{name: "max-memory", def: "512", kind: "MiB", set: setMiB(func(c *Config) *int { return &c.MaxMemory }),
		help: "the same of all namespaces together"},
	{name: "max-anonymous-address", def: "512", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxAnonymousAddress }, 0, 1_000_000_000),
		help: "requests and connections without good credentials, and idle connections, at once from one address; over it, the oldest is cut off"},
	{name: "max-anonymous", def: "4096", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxAnonymous }, 0, 1_000_000_000),
		help: "the same from all addresses together"},
	{name: "retention", def: "168h", kind: "duration", set: setDuration(func(c *Config) *time.Duration { return &c.Retention }, minSlice, 0),
		help: "age of events kept"},
	{name: "retention-events", def: "0", kind: "number", set: setNumber(func(c *Config) *int64 { return &c.RetentionEvents }, 0, 1<<53),
		help: "number of events kept; 0 keeps any number"},
	{name: "slice", def: "1h", kind: "duration", set: setDuration(func(c *Config) *time.Duration { return &c.Slice }, minSlice, 0),
		help: "retention grain: events are dropped a slice at a time"},
	{name: "slice-events", def: "50000000", kind: "number", set: setNumber(func(c *Config) *int64 { return &c.SliceEvents }, 1, 500_000_000),
		help: "number of events that closes a slice early"},
	{name: "dedup-window", def: "24h", kind: "duration", set: setDuration(func(c *Config) *time.Duration { return &c.DedupWindow }, minSlice, 0),
		help: "how long idempotency keys are remembered"},
	{name: "poll-only", def: "false", kind: "bool", set: setBool(func(c *Config) *bool { return &c.PollOnly }),
		help: "do not use LISTEN, look at the database every --poll instead"},
	{name: "poll", kind: "duration", set: setDuration(func(c *Config) *time.Duration { return &c.Poll }, minPoll, 0),
		help: "how often the database is looked at without a notification (default 1s, 100ms with --poll-only)"},
	{name: "log-level", def: "info", kind: "level", set: setLogLevel,
		help: "debug, info, warn or error"},
	{name: "log-format", kind: "format", set: setLogFormat,
		help: "json or text (default: text on a terminal, json elsewhere)"},
	{name: "drain", def: "1s", kind: "duration", set: setDuration(func(c *Config) *time.Duration { return &c.Drain }, 0, maxDrain),
		help: "how long a stopping server goes on answering with readyz failing before it closes its listener"},
}

// lookup finds a setting by its name.
func lookup(name string) (setting, bool) {
	for _, s := range settings {
		if s.name == name {
			return s, true
		}
	}
	return setting{}, false
}
