package event

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/culvertmq/culvert/internal/jsontext"
	"github.com/culvertmq/culvert/internal/trusted"
)

// Limits on an event's data.
const (
	MaxData  = 256 << 10 // bytes of compacted JSON
	MaxDepth = 64        // nested arrays and objects
)

// Data is an event's payload: one line of valid JSON that every reader decodes
// to the same value. The zero value is null.
type Data struct {
	json   string
	binary bool
}

// ParseData checks and compacts one JSON value. It also refuses valid JSON that
// Postgres or a reader in another language would change:
// invalid UTF-8, \u0000 and unpaired surrogates. Errors: an *InvalidError for
// the field "data", whose Err is ErrSyntax, ErrTooDeep, ErrTooLarge or nil.
// The Data does not keep raw.
func ParseData(raw []byte) (Data, error) {
	if len(raw) == 0 {
		return Data{}, nil
	}
	if !jsontext.Valid(raw) {
		switch {
		case !utf8.Valid(raw):
			return Data{}, Invalid("data", "is not valid UTF-8")
		case !json.Valid(raw):
			return Data{}, &InvalidError{"data", "is not valid JSON", ErrSyntax}
		} // text nested too deep gets its own error below
	}
	loose, err := inspect(raw)
	if err != nil {
		return Data{}, err
	}
	if loose {
		var b bytes.Buffer
		b.Grow(len(raw))
		if err := json.Compact(&b, raw); err != nil {
			return Data{}, &InvalidError{"data", "is not valid JSON", ErrSyntax}
		}
		raw = b.Bytes()
	}
	if len(raw) > MaxData {
		return Data{}, tooLarge("data", len(raw))
	}
	return Data{json: string(raw)}, nil
}

// MustData is ParseData for constants: it panics if that fails.
func MustData(s string) Data { return must(ParseData([]byte(s))) }

// ParseBinary checks that text is standard base64 and returns it as binary
// data. Errors are as for ParseData, for the field "binary".
func ParseBinary(text string) (Data, error) {
	if _, err := base64.StdEncoding.Strict().DecodeString(text); err != nil {
		return Data{}, Invalid("binary", "is not standard base64 with padding")
	}
	if strings.ContainsAny(text, "\r\n") { // DecodeString skips line breaks
		return Data{}, Invalid("binary", "must be base64 in one line")
	}
	if len(text)+2 > MaxData {
		return Data{}, tooLarge("binary", len(text)+2)
	}
	return Data{json: `"` + text + `"`, binary: true}, nil
}

// StoredData is data that was checked before it was stored. binary means that it is a string of base64.
func StoredData(json trusted.Text, binary bool) Data { return Data{json.String(), binary} }

// JSON returns the value's text, in one line.
func (d Data) JSON() string {
	if d.json == "" {
		return "null"
	}
	return d.json
}

// Len returns the length of the JSON in bytes.
func (d Data) Len() int { return len(d.json) }

// Binary reports whether the JSON is a string of base64.
func (d Data) Binary() bool { return d.binary }

func tooLarge(field string, n int) error {
	return &InvalidError{field, fmt.Sprintf("is %d bytes long, the limit is %d", n, MaxData), ErrTooLarge}
}

// inspect searches valid JSON for what the grammar allows and Data does not.
// loose reports white space between tokens.
func inspect(raw []byte) (loose bool, err error) {
	depth := 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '{', '[':
			if depth++; depth > MaxDepth {
				return false, &InvalidError{"data", "is nested deeper than 64", ErrTooDeep}
			}
		case '}', ']':
			depth--
		case ' ', '\t', '\r', '\n':
			loose = true
		case '"':
			if i, err = inspectString(raw, i+1); err != nil {
				return false, err
			}
		}
	}
	return loose, nil
}

// inspectString returns the index of the closing quote of the string whose
// first byte is at i.
func inspectString(raw []byte, i int) (int, error) {
	for ; raw[i] != '"'; i++ {
		if raw[i] != '\\' {
			continue
		}
		i++
		if raw[i] != 'u' {
			continue
		}
		unit := hex4(raw[i+1:])
		i += 4
		switch {
		case unit == 0:
			return i, Invalid("data", `contains \u0000, which Postgres cannot hold`)
		case unit >= 0xdc00 && unit <= 0xdfff:
			return i, errSurrogate
		case unit >= 0xd800 && unit <= 0xdbff:
			if raw[i+1] != '\\' || raw[i+2] != 'u' {
				return i, errSurrogate
			}
			if low := hex4(raw[i+3:]); low < 0xdc00 || low > 0xdfff {
				return i, errSurrogate
			}
			i += 6
		}
	}
	return i, nil
}

var errSurrogate = Invalid("data", "contains an unpaired surrogate escape")

func hex4(b []byte) (n rune) {
	for _, c := range b[:4] {
		switch {
		case c <= '9':
			c -= '0'
		case c <= 'F':
			c -= 'A' - 10
		default:
			c -= 'a' - 10
		}
		n = n<<4 | rune(c)
	}
	return n
}
