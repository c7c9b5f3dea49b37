package queue

import (
	"fmt"
	"math"
	"time"
)

// NamespaceSettings are what may be set for one namespace. A zero field means
// the server's default; patterns have none. In a pattern "*" stands for any run
// of characters.
type NamespaceSettings struct {
	// Retention is how long its events are kept, at least 1s. A longer one than
	// the server's keeps the slices of the whole log on disk for longer; no other
	// namespace shows its events for longer because of it.
	Retention time.Duration
	// Dedup is how long its idempotency keys are remembered, at least 1s.
	Dedup time.Duration
	// Public are patterns of rooms whose full pages of history any cache may
	// keep and show to anybody.
	Public []string
	// Presence are patterns of rooms that are told who comes and goes.
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

// Bounds of settings.
const (
	minSetting   = time.Second
	maxSetting   = 100 * 365 * 24 * time.Hour
	maxRate      = 1e9
	maxCount     = 1_000_000
	maxPatterns  = 100
	resetSetting = "0 or null resets it"
)

// Check tells what cannot be set. The error is an *InvalidError whose field is
// the setting's name as on the wire.
func (s NamespaceSettings) Check() error {
	for _, d := range []struct {
		field string
		v     time.Duration
	}{{"retention", s.Retention}, {"dedup", s.Dedup}} {
		if d.v != 0 && (d.v < minSetting || d.v > maxSetting) {
			return invalid(d.field, "must be from 1 second to 100 years; "+resetSetting)
		}
	}
	for _, r := range []struct {
		field string
		v     float64
	}{{"emit_rate", s.EmitRate}, {"client_rate", s.ClientRate}} {
		if !(r.v >= 0 && r.v <= maxRate) || r.v != 0 && r.v < 0.001 || math.IsNaN(r.v) {
			return invalid(r.field, "must be events a second from 0.001 to 1000000000; "+resetSetting)
		}
	}
	for _, n := range []struct {
		field string
		v     int
	}{{"max_connections_client", s.MaxConnectionsClient}, {"max_rooms_client", s.MaxRoomsClient}} {
		if n.v < 0 || n.v > maxCount {
			return invalidf(n.field, "must be from 1 to %d; %s", maxCount, resetSetting)
		}
	}
	if err := checkPatterns("public", s.Public); err != nil {
		return err
	}
	return checkPatterns("presence", s.Presence)
}

func checkPatterns(field string, patterns []string) error {
	if len(patterns) > maxPatterns {
		return invalidf(field, "may have at most %d patterns", maxPatterns)
	}
	for i, p := range patterns {
		if err := checkName(fmt.Sprintf("%s[%d]", field, i), p, MaxRoom); err != nil {
			return err
		}
	}
	return nil
}
