// Package jsontext tells valid JSON from other text, several times as fast as encoding/json.
// It checks all data of emits and all data that is read from Postgres.
package jsontext

import (
	"bytes"
	"unicode/utf8"
)

// Valid reports whether text is one value of JSON (RFC 8259) in valid UTF-8, with blanks
// around it or not, and nested less than 1,000 deep. It builds nothing.
func Valid(text []byte) bool {
	i, ok := value(text, blanks(text, 0), 0)
	return ok && blanks(text, i) == len(text) && utf8.Valid(text)
}

// ValidLine is Valid for text without line breaks.
func ValidLine(text []byte) bool {
	return bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\r') < 0 && Valid(text)
}

// maxNesting bounds the stack of the recursion.
const maxNesting = 1_000

// plain marks the bytes that a string may contain without an escape.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != '"' && c != '\\'
	}
	return t
}()

// value returns the index after the value that begins at i.
func value(b []byte, i, depth int) (int, bool) {
	if i >= len(b) || depth > maxNesting {
		return i, false
	}
	switch b[i] {
	case '"':
		return quoted(b, i+1)
	case '{':
		return list(b, i+1, depth, '}')
	case '[':
		return list(b, i+1, depth, ']')
	case 't':
		return word(b, i, "true")
	case 'f':
		return word(b, i, "false")
	case 'n':
		return word(b, i, "null")
	}
	return number(b, i)
}

// list reads the members of an object or the elements of an array up to its end.
func list(b []byte, i, depth int, end byte) (int, bool) {
	var ok bool
	if i = blanks(b, i); i < len(b) && b[i] == end {
		return i + 1, true
	}
	for {
		i = blanks(b, i)
		if end == '}' {
			if i >= len(b) || b[i] != '"' {
				return i, false
			}
			if i, ok = quoted(b, i+1); !ok {
				return i, false
			}
			if i = blanks(b, i); i >= len(b) || b[i] != ':' {
				return i, false
			}
			i = blanks(b, i+1)
		}
		if i, ok = value(b, i, depth+1); !ok {
			return i, false
		}
		if i = blanks(b, i); i >= len(b) {
			return i, false
		}
		switch b[i] {
		case end:
			return i + 1, true
		case ',':
			i++
		default:
			return i, false
		}
	}
}

// quoted reads to the end of the string whose first byte is at i.
func quoted(b []byte, i int) (int, bool) {
	for i < len(b) {
		for i < len(b) && plain[b[i]] {
			i++
		}
		if i >= len(b) || b[i] < 0x20 {
			return i, false
		}
		if b[i] == '"' {
			return i + 1, true
		}
		if i+1 >= len(b) {
			return i, false
		}
		switch b[i+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i += 2
		case 'u':
			if i+6 > len(b) || !hexadecimal(b[i+2:i+6]) {
				return i, false
			}
			i += 6
		default:
			return i, false
		}
	}
	return i, false
}

func hexadecimal(b []byte) bool {
	for _, c := range b {
		if letter := c | 0x20; (c < '0' || c > '9') && (letter < 'a' || letter > 'f') {
			return false
		}
	}
	return true
}

func word(b []byte, i int, want string) (int, bool) {
	n := i + len(want)
	return n, n <= len(b) && string(b[i:n]) == want
}

func number(b []byte, i int) (int, bool) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	first := i
	if i = digits(b, i); i == first || b[first] == '0' && i > first+1 {
		return i, false
	}
	if i < len(b) && b[i] == '.' {
		fraction := i + 1
		if i = digits(b, fraction); i == fraction {
			return i, false
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		power := i
		if i = digits(b, power); i == power {
			return i, false
		}
	}
	return i, true
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

// blanks skips white space between tokens.
func blanks(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}
