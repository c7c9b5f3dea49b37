package auth

import "strings"

// Opens is matches for what a pattern gives access to: "*" must not open the
// rooms that other clients alone are in, which begin with "@".
func Opens(pattern, room string) bool {
	if room[0] == '@' && (pattern == "" || pattern[0] != '@') {
		return false
	}
	return matches(pattern, room)
}

// matches reports whether s is pattern, where "*" stands for any run of bytes, none
// included. Each piece between two stars is taken where it comes first: an earlier place
// leaves all others to what follows. So the time grows with len(pattern) + len(s).
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
