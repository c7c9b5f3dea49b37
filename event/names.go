package event

import (
	"strings"
	"unicode/utf8"

	"github.com/culvertmq/culvert/internal/trusted"
)

// Limits on names, in bytes of UTF-8.
const (
	MaxNamespace = 63
	MaxRoom      = 200
	MaxClient    = 128
	MaxEventName = 128
	MaxKey       = 200
)

// MaxRooms bounds the rooms one event is addressed to, and those it excepts.
const MaxRooms = 100

// ReservedPrefix starts the names of Culvert's own events.
const ReservedPrefix = "culvert:"

// Namespace names an isolated set of rooms, clients and keys. The zero value is
// no namespace.
type Namespace struct{ name string }

// Room names an audience inside a namespace. The zero value is not a room.
type Room struct{ name string }

// Client names a durable identity inside a namespace. The zero value is no
// client, as in an emit by a backend that acts for none.
type Client struct{ name string }

// EventName is the name of an event as the emitter chose it.
type EventName struct{ name string }

// Key is an idempotency key, unique in its namespace among the keys of one client, or among
// those of all backends. The zero value is not a key.
type Key struct{ name string }

// Everyone returns the room that every client of a namespace is in.
func Everyone() Room { return Room{"*"} }

// String returns the name.
func (n Namespace) String() string { return n.name }

// String returns the name.
func (r Room) String() string { return r.name }

// String returns the name.
func (c Client) String() string { return c.name }

// String returns the name.
func (e EventName) String() string { return e.name }

// String returns the key.
func (k Key) String() string { return k.name }

// StoredNamespace returns a namespace that was checked before it was stored.
func StoredNamespace(name trusted.Text) Namespace { return Namespace{name.String()} }

// StoredRoom returns a room that was checked before it was stored, or one of Culvert's own.
func StoredRoom(name trusted.Text) Room { return Room{name.String()} }

// StoredClient returns a client that was checked before it was stored.
func StoredClient(name trusted.Text) Client { return Client{name.String()} }

// OwnRoom returns the room that only this client is in.
func (c Client) OwnRoom() Room { return Room{"@" + c.name} }

// Compare orders rooms by the bytes of their names.
func (r Room) Compare(s Room) int { return strings.Compare(r.name, s.name) }

// Reserved reports whether the room cannot be joined or left: a client's own
// room or the namespace-wide one.
func (r Room) Reserved() bool { return r.name == "*" || strings.HasPrefix(r.name, "@") }

// ParseNamespace accepts [a-z0-9][a-z0-9-]{0,62}. The error is an *InvalidError.
func ParseNamespace(s string) (Namespace, error) {
	ok := s != "" && len(s) <= MaxNamespace && s[0] != '-'
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-'
	}
	if !ok {
		return Namespace{}, Invalid("namespace", "must be 1 to 63 characters of a-z, 0-9 and '-', not beginning with '-'")
	}
	return Namespace{s}, nil
}

// ParseRoom accepts 1-200 bytes of UTF-8 without control characters, but not "."
// and "..". The error is an *InvalidError.
func ParseRoom(s string) (Room, error) {
	if err := CheckSegment("room", s, MaxRoom); err != nil {
		return Room{}, err
	}
	return Room{s}, nil
}

// ParseClient accepts 1-128 bytes of UTF-8 without control characters, but not ".",
// ".." and "me". The error is an *InvalidError.
func ParseClient(s string) (Client, error) {
	if s == "me" { // in a path it stands for the caller
		return Client{}, Invalid("client", `must not be "me", which stands for the caller in addresses`)
	}
	if err := CheckSegment("client", s, MaxClient); err != nil {
		return Client{}, err
	}
	return Client{s}, nil
}

// ParseEventName accepts 1-128 bytes of UTF-8 without control characters that
// do not begin with "culvert:". The error is an *InvalidError.
func ParseEventName(s string) (EventName, error) {
	if err := CheckName("event", s, MaxEventName); err != nil {
		return EventName{}, err
	}
	if strings.HasPrefix(s, ReservedPrefix) {
		return EventName{}, Invalid("event", `names beginning with "culvert:" are reserved`)
	}
	return EventName{s}, nil
}

// ParseKey accepts 1-200 bytes of UTF-8 without control characters, but not "."
// and "..". The error is an *InvalidError.
func ParseKey(s string) (Key, error) {
	if err := CheckSegment("key", s, MaxKey); err != nil {
		return Key{}, err
	}
	return Key{s}, nil
}

// must panics on errors; it is for constructors whose argument is a constant of the program.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// MustNamespace is ParseNamespace for constants: it panics if that fails.
func MustNamespace(s string) Namespace { return must(ParseNamespace(s)) }

// MustRoom is ParseRoom for constants: it panics if that fails.
func MustRoom(s string) Room { return must(ParseRoom(s)) }

// MustClient is ParseClient for constants: it panics if that fails.
func MustClient(s string) Client { return must(ParseClient(s)) }

// MustEventName is ParseEventName for constants: it panics if that fails.
func MustEventName(s string) EventName { return must(ParseEventName(s)) }

// MustKey is ParseKey for constants: it panics if that fails.
func MustKey(s string) Key { return must(ParseKey(s)) }

// CheckSegment is CheckName for names that can be a segment of a URL's path.
// URL parsers take "." and ".." for steps in the path, even when they are
// percent-encoded (WHATWG URL, "single-dot" and "double-dot URL path segment"):
// the request would be for another path.
func CheckSegment(field, s string, limit int) error {
	if s == "." || s == ".." {
		return Invalidf(field, "must not be %q: it is a step in a URL's path, not a name", s)
	}
	return CheckName(field, s, limit)
}

// CheckName checks the rule that all names except namespaces share. Control characters are C0, DEL,
// C1 and the Unicode line separators: a name must fit in one
// line on the wire and in logs.
func CheckName(field, s string, limit int) error {
	switch {
	case s == "":
		return Invalid(field, "must not be empty")
	case len(s) > limit:
		return Invalidf(field, "is %d bytes long, the limit is %d", len(s), limit)
	case !utf8.ValidString(s):
		return Invalid(field, "is not valid UTF-8")
	}
	for _, r := range s {
		if r < 0x20 || r >= 0x7f && r <= 0x9f || r == '\u2028' || r == '\u2029' {
			return Invalidf(field, "has the control character U+%04X", r)
		}
	}
	return nil
}
