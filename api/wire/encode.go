package wire

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/culvertmq/culvert/event"
)

const hexDigits = "0123456789abcdef"

// AppendString adds s as a JSON string. JavaScript's line separators are escaped, as encoding/json does;
// invalid UTF-8 becomes U+FFFD.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20 || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == '\u2028' || r == '\u2029' {
				b = append(b, `\u202`...)
				b = append(b, hexDigits[r&15])
			} else {
				b = utf8.AppendRune(b, r)
			}
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}

// AppendClient adds a client's name as a JSON string; null for none.
func AppendClient(b []byte, c event.Client) []byte {
	if c == (event.Client{}) {
		return append(b, "null"...)
	}
	return AppendString(b, c.String())
}

// AppendCursor adds a cursor as a JSON string; null for none. Cursors have no characters that need escapes.
func AppendCursor(b []byte, c event.Cursor) []byte {
	if c.IsZero() {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = c.Append(b)
	return append(b, '"')
}

// AppendTime adds a time as a JSON string: RFC 3339 in UTC, to the millisecond; null for none.
func AppendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	return append(b, '"')
}

// AppendSeconds adds a duration as a JSON number of seconds, to the millisecond.
func AppendSeconds(b []byte, d time.Duration) []byte {
	return strconv.AppendFloat(b, float64(d.Milliseconds())/1000, 'f', -1, 64)
}
