package registry

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/culvertmq/culvert/event"
)

// NamespaceSettings are what may be set for one namespace. A zero field means the server's default; for
// patterns there is none. In a pattern "*" stands for any run of characters.
type NamespaceSettings struct {
	// Retention is how long its events are kept, at least 1s. A longer retention than the server's keeps slices
	// of the whole log on disk for longer, but other namespaces do not show their events for longer.
	Retention time.Duration
	// Dedup is how long its idempotency keys are remembered, at least 1s.
	Dedup time.Duration
	// Public are patterns of rooms whose full pages of history any cache may
	// keep and show to anybody.
	Public []string
	// Presence are patterns of rooms that get an event when a member comes online or goes offline.
	Presence []string
	// EmitRate is how many events a second may be emitted to the namespace.
	EmitRate float64
	// ClientRate is how many events a second each client may emit.
	ClientRate float64
	// MaxConnectionsClient is how many streams and long polls a client may have.
	MaxConnectionsClient int
	// MaxRoomsClient is how many rooms a client may be a member of.
	MaxRoomsClient int
}

// Setting is one thing that may be set for a namespace.
type Setting struct {
	// Name is its name on the wire, and the name of its column in culvert.namespaces.
	Name string
	// Help describes it for people.
	Help string
	// Of returns a pointer to its value: a *time.Duration, *[]string (patterns), *float64 (events a second) or
	// *int (a number of something).
	Of func(*NamespaceSettings) any
}

// settings is the table of namespace settings. All code that stores, reads, checks and shows settings uses it.
// A setting also needs its column, and its schema in openapi.yaml, which a test compares.
var settings = []Setting{
	{"retention", "how long its events are kept", func(s *NamespaceSettings) any { return &s.Retention }},
	{"dedup", "how long its idempotency keys are remembered", func(s *NamespaceSettings) any { return &s.Dedup }},
	{"public", "rooms whose full pages of history any cache may keep and show to anybody", func(s *NamespaceSettings) any { return &s.Public }},
	{"presence", "rooms that are told when members go online or offline", func(s *NamespaceSettings) any { return &s.Presence }},
	{"emit_rate", "events a second emitted to the namespace", func(s *NamespaceSettings) any { return &s.EmitRate }},
	{"client_rate", "events a second emitted by each client", func(s *NamespaceSettings) any { return &s.ClientRate }},
	{"max_connections_client", "streams and long polls of a client", func(s *NamespaceSettings) any { return &s.MaxConnectionsClient }},
	{"max_rooms_client", "rooms a client may be a member of", func(s *NamespaceSettings) any { return &s.MaxRoomsClient }},
}

// AllSettings returns the settings a namespace may have, in the order in which they are shown.
func AllSettings() []Setting { return slices.Clone(settings) }

// SettingNamed returns the setting of that name on the wire.
func SettingNamed(name string) (s Setting, ok bool) {
	i := slices.IndexFunc(settings, func(s Setting) bool { return s.Name == name })
	if i < 0 {
		return s, false
	}
	return settings[i], true
}

// Flag returns the name of the setting's flag.
func (s Setting) Flag() string { return strings.ReplaceAll(s.Name, "_", "-") }

// Bounds of settings.
const (
	minSetting   = time.Second
	maxSetting   = 100 * 365 * 24 * time.Hour
	maxRate      = 1e9
	maxCount     = 1_000_000
	maxPatterns  = 100
	resetSetting = "0 or null resets it"
)

// Check returns an error if a setting is out of bounds: an *InvalidError whose field is the setting's name on
// the wire.
func (s NamespaceSettings) Check() error {
	for _, setting := range settings {
		if err := setting.check(&s); err != nil {
			return err
		}
	}
	return nil
}

func (s Setting) check(of *NamespaceSettings) error {
	switch v := s.Of(of).(type) {
	case *time.Duration:
		if *v != 0 && (*v < minSetting || *v > maxSetting) {
			return event.Invalid(s.Name, "must be from 1 second to 100 years; "+resetSetting)
		}
	case *float64:
		if !(*v >= 0 && *v <= maxRate) || *v != 0 && *v < 0.001 || math.IsNaN(*v) {
			return event.Invalid(s.Name, "must be events a second from 0.001 to 1000000000; "+resetSetting)
		}
	case *int:
		if *v < 0 || *v > maxCount {
			return event.Invalidf(s.Name, "must be from 1 to %d; %s", maxCount, resetSetting)
		}
	case *[]string:
		return checkPatterns(s.Name, *v)
	}
	return nil
}

func checkPatterns(field string, patterns []string) error {
	if len(patterns) > maxPatterns {
		return event.Invalidf(field, "may have at most %d patterns", maxPatterns)
	}
	for i, p := range patterns {
		if err := event.CheckName(fmt.Sprintf("%s[%d]", field, i), p, event.MaxRoom); err != nil {
			return err
		}
	}
	return nil
}
