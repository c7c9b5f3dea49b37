package event

import (
	"strconv"
	"strings"
)

// Offset is an event's position: strictly increasing in commit order, never
// reused, not contiguous. The first is 1; 0 is the position before every event.
type Offset int64

// MaxOffset keeps every offset exact as a JSON number (2^53 - 1).
const MaxOffset Offset = 1<<53 - 1

// Cursor is a position in one log: everything up to and including Offset has
// been received. The zero value is not a position.
type Cursor struct {
	Log    string
	Offset Offset
}

// IsZero reports whether the cursor names no position.
func (c Cursor) IsZero() bool { return c == Cursor{} }

// String returns the cursor as clients see it, "<log>:<offset>"; "" for the zero value.
func (c Cursor) String() string {
	if c.IsZero() {
		return ""
	}
	return string(c.Append(make([]byte, 0, 32)))
}

// Append adds the cursor's text to b.
func (c Cursor) Append(b []byte) []byte {
	b = append(b, c.Log...)
	b = append(b, ':')
	return strconv.AppendInt(b, int64(c.Offset), 10)
}

// maxLog bounds the log's identity in a received cursor; Culvert's own identities have 8 characters.
const maxLog = 32

// ParseCursor reads "<log>:<offset>" with a log of lower-case letters and
// digits and a canonical decimal offset. The error is ErrCursor.
func ParseCursor(s string) (Cursor, error) {
	log, digits, found := strings.Cut(s, ":")
	if !found || log == "" || len(log) > maxLog {
		return Cursor{}, ErrCursor
	}
	for i := range len(log) {
		if c := log[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return Cursor{}, ErrCursor
		}
	}
	n, err := strconv.ParseUint(digits, 10, 53)
	if err != nil || len(digits) > 1 && digits[0] == '0' {
		return Cursor{}, ErrCursor
	}
	return Cursor{log, Offset(n)}, nil
}
