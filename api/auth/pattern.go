package auth

import "strings"

// Opens reports whether a pattern gives access to a room. It is matches with one exception: "*" does not open
// the rooms that belong to one other client, whose names begin with "@".
func Opens(pattern, room string) bool {
	if room[0] == '@' && (pattern == "" || pattern[0] != '@') {
		return false
	}
	return matches(pattern, room)
}

// matches reports whether s fits the pattern, in which "*" matches any run of bytes, also an empty one. Each
// piece between two stars is matched at the first place where it occurs: this leaves the most text for the
// pieces after it. So there is no backtracking, and the time grows with len(pattern) + len(s).
func matches(pattern, s string) bool {
	first, rest, stars := strings.Cut(pattern, "*")
	if !stars {
		return pattern == s
	}
	s, found := strings.CutPrefix(s, first)
	if !found {
		return false
	}
	for {
		piece, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(s, piece)
		}
		i := strings.Index(s, piece)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(piece):], after
	}
}
