package auth

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "a", false}, {"a", "a", true}, {"a", "b", false}, {"*", "", true}, {"*", "anything", true},
		{"a*", "a", true}, {"a*", "abc", true}, {"a*", "ba", false}, {"*a", "ba", true}, {"*a", "ab", false},
		{"a*b*c", "abc", true}, {"a*b*c", "a-b-b-c", true}, {"a*b*c", "acb", false}, {"**", "x", true},
		{"org/*/repo", "org/a/b/repo", true}, {"ü*", "über", true}, {"ü", "ö", false}, {"*ab", "aab", true}, {"*ab*ab", "ab", false},
		{"?", "a", false}, {".*", "abc", false}, {"[a]", "a", false},
	} {
		if got := matches(c.pattern, c.name); got != c.want {
			t.Errorf("%q and %q: %v", c.pattern, c.name, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		pattern, name := rapid.StringMatching(`[ab*]{0,8}`).Draw(t, "pattern"), rapid.StringMatching(`[ab]{0,10}`).Draw(t, "name")
		want := regexp.MustCompile("^" + strings.ReplaceAll(pattern, "*", ".*") + "$").MatchString(name)
		if got := matches(pattern, name); got != want {
			t.Fatalf("%q and %q: %v", pattern, name, got)
		}
	})
}

// TestPatternsDoNotExplode would run for hours if the matcher tried every place for every star.
func TestPatternsDoNotExplode(t *testing.T) {
	if matches(strings.Repeat("a*", 1000)+"b", strings.Repeat("a", 10_000)) {
		t.Error("matched")
	}
}
