package wire

import (
	"bytes"
	"encoding/json"

	"github.com/culvertmq/culvert/event"
)

// The functions below take JSON that json.Valid has accepted. They exist because encoding/json matches names in
// any case, keeps the last of two fields of one name, and cannot say which field is unknown. With encoding/json
// a misspelled "room" would make an event reach everyone.

// Members calls f for every field of the object raw, in order. It reports false if raw is not an object.
func Members(raw []byte, f func(name string, value []byte) error) (isObject bool, err error) {
	i := space(raw, 0)
	if i >= len(raw) || raw[i] != '{' {
		return false, nil
	}
	i = space(raw, i+1)
	for raw[i] != '}' {
		end := stringEnd(raw, i)
		name, err := Text("", raw[i:end])
		if err != nil {
			return true, Refuse(Malformed, "", "the name of a field is not valid Unicode")
		}
		i = space(raw, space(raw, end)+1) // skips the colon
		end = valueEnd(raw, i)
		if err := f(name, raw[i:end]); err != nil {
			return true, err
		}
		if i = space(raw, end); raw[i] == ',' {
			i = space(raw, i+1)
		}
	}
	return true, nil
}

// Object reads the fields of the object raw. It stores each value where slot(name) points; slot returns nil for
// a name that the object does not have. field is the object's own name in error texts, "" for a whole body.
// Errors: *Problem, naming the field, for unknown and duplicate fields and for anything but an object.
func Object(raw []byte, field string, slot func(name string) *[]byte) error {
	prefix := ""
	if field != "" {
		prefix = field + "."
	}
	isObject, err := Members(raw, func(name string, value []byte) error {
		to := slot(name)
		switch {
		case to == nil:
			return Refuse(Malformed, prefix+Clip(name), "unknown field; names are case-sensitive")
		case *to != nil:
			return Refuse(Malformed, prefix+name, "duplicate field")
		}
		*to = value
		return nil
	})
	switch {
	case isObject:
		return err
	case field == "":
		return Refuse(Invalid, "", "want a JSON object")
	}
	return Refuse(Invalid, field, field+" must be an object")
}

// Clip keeps an unknown name short enough to be repeated in an answer.
func Clip(name string) string { return name[:min(len(name), 64)] }

// Elements calls f for every element of the array raw, in order. It reports false if raw is not an array.
func Elements(raw []byte, f func(i int, value []byte) error) (isArray bool, err error) {
	if raw[0] != '[' {
		return false, nil
	}
	i := space(raw, 1)
	for n := 0; raw[i] != ']'; n++ {
		end := valueEnd(raw, i)
		if err := f(n, raw[i:end]); err != nil {
			return true, err
		}
		if i = space(raw, end); raw[i] == ',' {
			i = space(raw, i+1)
		}
	}
	return true, nil
}

// Text decodes a string. It refuses unpaired surrogates (by ParseData), which json.Unmarshal would silently
// replace.
func Text(field string, raw []byte) (string, error) {
	if raw[0] != '"' {
		return "", Refuse(Invalid, field, field+" must be a string")
	}
	escaped := false
	for _, c := range raw {
		escaped = escaped || c == '\\'
	}
	if !escaped {
		return string(raw[1 : len(raw)-1]), nil
	}
	if _, err := event.ParseData(raw); err != nil {
		return "", InField(err, field)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", Refuse(Invalid, field, field+" must be a string")
	}
	return s, nil
}

func space(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\n' || raw[i] == '\r' || raw[i] == '\t') {
		i++
	}
	return i
}

// stringEnd returns the index after the string that begins at i.
func stringEnd(raw []byte, i int) int {
	for i++; raw[i] != '"'; i++ {
		if raw[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// valueEnd returns the index after the value that begins at i.
func valueEnd(raw []byte, i int) int {
	depth := 0
	for i < len(raw) {
		switch raw[i] {
		case '"':
			i = stringEnd(raw, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // the array or object that holds a number or a literal ends here
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\r', '\t':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return i
}

// IsNull reports whether a value is absent or null: many serializers write null for an absent value. Where the
// difference decides whether an event reaches everyone (room, rooms), null is refused instead.
func IsNull(raw []byte) bool { return raw == nil || bytes.Equal(raw, []byte("null")) }
