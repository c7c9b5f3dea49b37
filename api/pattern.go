package api

// opens is matches for what a pattern gives access to: "*" must not open the
// rooms that other clients alone are in, which begin with "@".
func opens(pattern, room string) bool {
	if room[0] == '@' && (pattern == "" || pattern[0] != '@') {
		return false
	}
	return matches(pattern, room)
}

// matches reports whether s is pattern, where "*" stands for any run of bytes,
// none included. It goes back to the last star only: an earlier one need not
// take more once a later one was reached, so the time is at most
// len(pattern) * len(s).
func matches(pattern, s string) bool {
	p, i := 0, 0
	star, from := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
