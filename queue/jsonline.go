package queue

import "unicode/utf8"

// isJSONLine reports whether text is one value of JSON in one line of valid UTF-8. It
// looks at all that is read from Postgres, so it does not build anything.
func isJSONLine(text []byte) bool {
	i, ok := jsonValue(text, 0, 0)
	return ok && i == len(text) && utf8.Valid(text)
}

// maxNesting bounds the stack; what ParseData and culvert.emit take is far below.
const maxNesting = 1_000

// plain marks the bytes that stand for themselves in a string.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != '"' && c != '\\'
	}
	return t
}()

// jsonValue returns the index after the value that begins at i.
func jsonValue(b []byte, i, depth int) (int, bool) {
	if i >= len(b) || depth > maxNesting {
		return i, false
	}
	switch b[i] {
	case '"':
		return jsonString(b, i+1)
	case '{':
		return jsonList(b, i+1, depth, '}')
	case '[':
		return jsonList(b, i+1, depth, ']')
	case 't':
		return jsonWord(b, i, "true")
	case 'f':
		return jsonWord(b, i, "false")
	case 'n':
		return jsonWord(b, i, "null")
	}
	return jsonNumber(b, i)
}

// jsonList reads the members of an object or array up to its end.
func jsonList(b []byte, i, depth int, end byte) (int, bool) {
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
			if i, ok = jsonString(b, i+1); !ok {
				return i, false
			}
			if i = blanks(b, i); i >= len(b) || b[i] != ':' {
				return i, false
			}
			i = blanks(b, i+1)
		}
		if i, ok = jsonValue(b, i, depth+1); !ok {
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

// jsonString reads to the end of the string whose first byte is at i.
func jsonString(b []byte, i int) (int, bool) {
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

func jsonWord(b []byte, i int, word string) (int, bool) {
	n := i + len(word)
	return n, n <= len(b) && string(b[i:n]) == word
}

func jsonNumber(b []byte, i int) (int, bool) {
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

// blanks passes what may stand between tokens within a line.
func blanks(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	return i
}
