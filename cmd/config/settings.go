package config

import (
	"time"
)

// Setting is one field of Config as the operator sees it: a flag, a variable and a line of the configuration
// file, all with the same name.
type Setting struct {
	Name string
	def  string
	kind string // of the value, for help: address, seconds, duration, …
	help string
	// secret values are masked wherever they are shown, and can come from a file that the variable with _FILE
	// names. file values can come from such a file, too, but are not masked.
	secret, file bool
	// blank says that an empty value has a meaning. Otherwise an empty variable counts as not set: compose
	// files pass variables on that way.
	blank bool
	// set parses the value. Its error says what is wrong with the value and what to do.
	set func(*Config, string) error
}

// Settings lists all settings in the order in which config check shows them.
var Settings = []Setting{
	{Name: "listen", def: "127.0.0.1:8080", kind: "address", set: setListen,
		help: "address of the API; the variable PORT alone sets its port on all interfaces"},
	{Name: "admin-listen", def: "127.0.0.1:8081", kind: "address", blank: true, set: setAdminListen,
		help: "address of metrics and health; empty turns it off"},
	{Name: "database-url", kind: "dsn", secret: true, set: setDSN(func(c *Config) *string { return &c.DatabaseURL }),
		help: "URL of the Postgres database (or set DATABASE_URL); without it 'culvert serve' runs a private Postgres under its --data"},
	{Name: "listen-database-url", kind: "dsn", secret: true, set: setDSN(func(c *Config) *string { return &c.ListenDatabaseURL }),
		help: "direct Postgres connection for LISTEN and migrations, if --database-url goes through a transaction pooler"},
	{Name: "max-connections", def: "10", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxConnections }, 5, 10_000),
		help: "most connections to Postgres that this instance opens, including the one for LISTEN"},
	{Name: "data", kind: "folder", set: setText(func(c *Config) *string { return &c.Data }),
		help: "folder for the private Postgres and generated secrets (default: the user's data folder)"},
	{Name: "migrate", def: "true", kind: "bool", set: setBool(func(c *Config) *bool { return &c.Migrate }),
		help: "bring the database schema up to date at start"},
	{Name: "api-keys", kind: "keys", secret: true, set: setAPIKeys,
		help: "comma-separated API keys for every namespace, each of at least 16 characters"},
	{Name: "jwt-secret", kind: "secret", secret: true, set: setText(func(c *Config) *string { return &c.JWTSecret }),
		help: "HMAC secret for tokens, of at least 32 bytes"},
	{Name: "allow-weak-secrets", def: "false", kind: "bool", set: setBool(func(c *Config) *bool { return &c.AllowWeakSecrets }),
		help: "accept API keys below 16 characters and a JWT secret below 32 bytes, which can be guessed"},
	{Name: "jwt-public-key", kind: "pem", file: true, set: setPublicKey,
		help: "public key for tokens (RS256, ES256 or EdDSA, by its type): PEM, one block or several"},
	{Name: "jwt-jwks-url", kind: "url", set: setText(func(c *Config) *string { return &c.JWKSURL }),
		help: "where an issuer publishes its keys for tokens: https, or http on a loopback address"},
	{Name: "jwt-algorithms", kind: "names", set: setList(func(c *Config) *[]string { return &c.JWTAlgorithms }),
		help: "comma-separated algorithms to accept, of HS256, HS384, HS512, RS256, ES256, EdDSA (default: all that the keys are for)"},
	{Name: "jwt-audience", kind: "names", set: setList(func(c *Config) *[]string { return &c.JWTAudience }),
		help: "comma-separated audiences, one of which a token's aud must name (default: aud is ignored)"},
	{Name: "jwt-issuer", kind: "name", set: setText(func(c *Config) *string { return &c.JWTIssuer }),
		help: "what a token's iss must be (default: iss is ignored)"},
	{Name: "jwt-leeway", def: "5", kind: "seconds", set: setSeconds(func(c *Config) *time.Duration { return &c.JWTLeeway }, 0, maxLeeway),
		help: "how far the issuer's clock may be ahead, for nbf and iat; exp has no leeway"},
	{Name: "cors-origins", kind: "origins", set: setCORSOrigins,
		help: "comma-separated origins that may call from a browser, such as https://app.example.com"},
	{Name: "demo", def: "false", kind: "bool", set: setBool(func(c *Config) *bool { return &c.Demo }),
		help: "serve a chat at /demo/ that everybody who reaches the server may use: for this machine only, not for production"},
	{Name: "heartbeat", def: "15", kind: "seconds", set: setSeconds(func(c *Config) *time.Duration { return &c.Heartbeat }, minHeartbeat, maxHeartbeat),
		help: "silence on a stream before a heartbeat"},
	{Name: "max-age", def: "3300", kind: "seconds", set: setSeconds(func(c *Config) *time.Duration { return &c.MaxAge }, minMaxAge, maxMaxAge),
		help: "how long a stream lasts before its client is told to reconnect"},
	{Name: "max-wait", def: "50", kind: "seconds", set: setSeconds(func(c *Config) *time.Duration { return &c.MaxWait }, minMaxWait, maxMaxWait),
		help: "longest time a long poll is held"},
	{Name: "session-idle", def: "60", kind: "seconds", set: setSeconds(func(c *Config) *time.Duration { return &c.SessionIdle }, 0, 10*time.Minute),
		help: "how long a client's rooms are kept in memory between two long polls, which then need no query; 0: not at all"},
	{Name: "max-rooms", def: "1000", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxRooms }, 1, 1_000_000),
		help: "how many rooms a client may be in"},
	{Name: "max-rooms-made-client", def: "10000", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxRoomsMadeClient }, 0, 1_000_000_000),
		help: "how many rooms a client may make in a namespace with its tokens, by emitting or joining; 0 means no limit"},
	{Name: "max-rooms-namespace", def: "1000000", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxRoomsNamespace }, 0, 1_000_000_000),
		help: "number of rooms of a namespace at which requests cannot make new ones; rooms made by culvert.emit count, too; 0 means no limit"},
	{Name: "rate-namespace", def: "100000", kind: "number", set: setNumber(func(c *Config) *int64 { return &c.RateNamespace }, 0, 1_000_000_000),
		help: "events a second that a namespace may emit to this instance; for this and all rates and limits below, 0 means no limit"},
	{Name: "rate-client", def: "500", kind: "number", set: setNumber(func(c *Config) *int64 { return &c.RateClient }, 0, 1_000_000_000),
		help: "events a second that a client may emit to this instance"},
	{Name: "rate-requests", def: "500", kind: "number", set: setNumber(func(c *Config) *int64 { return &c.RateRequests }, 0, 1_000_000_000),
		help: "requests a second, other than emits, that a client may send to this instance"},
	{Name: "rate-burst", def: "10", kind: "seconds", set: setSeconds(func(c *Config) *time.Duration { return &c.RateBurst }, minBurst, maxBurst),
		help: "how many seconds' worth of a rate may come at once"},
	{Name: "max-connections-namespace", def: "50000", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxConnectionsNamespace }, 0, 1_000_000_000),
		help: "how many connections (streams, held long polls, waiting emits, NDJSON uploads) a namespace may have open on this instance"},
	{Name: "max-connections-client", def: "32", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxConnectionsClient }, 0, 1_000_000_000),
		help: "how many such connections a client may have open on this instance"},
	{Name: "max-connections-instance", def: "100000", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxConnectionsInstance }, 0, 1_000_000_000),
		help: "how many such connections all namespaces together may have open on this instance"},
	{Name: "max-requests-client", def: "256", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxRequestsClient }, 0, 1_000_000_000),
		help: "how many requests, other than those connections, a client may have under way on this instance"},
	{Name: "max-requests-namespace", def: "10000", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxRequestsNamespace }, 0, 1_000_000_000),
		help: "how many such requests a namespace may have under way on this instance; one API key may have half of them"},
	{Name: "max-requests", def: "20000", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxRequests }, 0, 1_000_000_000),
		help: "how many such requests all namespaces together may have under way on this instance"},
	{Name: "max-memory-client", def: "32", kind: "MiB", set: setMiB(func(c *Config) *int { return &c.MaxMemoryClient }),
		help: "memory for the bodies and answers of a client's requests on this instance; each byte counts twice"},
	{Name: "max-memory-namespace", def: "256", kind: "MiB", set: setMiB(func(c *Config) *int { return &c.MaxMemoryNamespace }),
		help: "memory for the bodies and answers of a namespace's requests on this instance; one API key may use half of it"},
	{Name: "max-memory", def: "512", kind: "MiB", set: setMiB(func(c *Config) *int { return &c.MaxMemory }),
		help: "memory for the bodies and answers of all requests on this instance"},
	{Name: "max-anonymous-address", def: "512", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxAnonymousAddress }, 0, 1_000_000_000),
		help: "how many requests and connections without valid credentials, and idle connections, one address may have at once; if there are more, the oldest is cut off"},
	{Name: "max-anonymous", def: "4096", kind: "number", set: setNumber(func(c *Config) *int { return &c.MaxAnonymous }, 0, 1_000_000_000),
		help: "how many such requests and connections all addresses together may have"},
	{Name: "retention", def: "168h", kind: "duration", set: setDuration(func(c *Config) *time.Duration { return &c.Retention }, minSlice, 0),
		help: "how long events are kept"},
	{Name: "retention-events", def: "0", kind: "number", set: setNumber(func(c *Config) *int64 { return &c.RetentionEvents }, 0, 1<<53),
		help: "how many events are kept; 0 means no limit"},
	{Name: "slice", def: "1h", kind: "duration", set: setDuration(func(c *Config) *time.Duration { return &c.Slice }, minSlice, 0),
		help: "time span of a slice: retention drops events by whole slices"},
	{Name: "slice-events", def: "50000000", kind: "number", set: setNumber(func(c *Config) *int64 { return &c.SliceEvents }, 1, 500_000_000),
		help: "number of events after which a slice is closed early"},
	{Name: "dedup-window", def: "24h", kind: "duration", set: setDuration(func(c *Config) *time.Duration { return &c.DedupWindow }, minSlice, 0),
		help: "how long idempotency keys are remembered"},
	{Name: "poll-only", def: "false", kind: "bool", set: setBool(func(c *Config) *bool { return &c.PollOnly }),
		help: "do not use LISTEN, but read the database every --poll"},
	{Name: "poll", kind: "duration", set: setDuration(func(c *Config) *time.Duration { return &c.Poll }, minPoll, 0),
		help: "how often the database is read without a notification (default 1s, 100ms with --poll-only)"},
	{Name: "log-level", def: "info", kind: "level", set: setLogLevel,
		help: "debug, info, warn or error"},
	{Name: "log-format", kind: "format", set: setLogFormat,
		help: "json or text (default: text on a terminal, json elsewhere)"},
	{Name: "drain", def: "1s", kind: "duration", set: setDuration(func(c *Config) *time.Duration { return &c.Drain }, 0, maxDrain),
		help: "how long a stopping server still answers, with readyz failing, before it closes its listener"},
}

// lookup finds a setting by its name.
func lookup(name string) (Setting, bool) {
	for _, s := range Settings {
		if s.Name == name {
			return s, true
		}
	}
	return Setting{}, false
}

// Value is a setting's text and where it came from.
type Value struct {
	Text   string
	Source string
}
