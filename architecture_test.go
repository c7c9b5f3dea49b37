package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every file and name in docs/architecture.md exists.
func TestArchitectureNamesWhatIsThere(t *testing.T) {
	page, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	places := regexp.MustCompile("(?m)^\\| .* \\| `([^`]+)` \\| `([^`]+)` \\|$").FindAllStringSubmatch(string(page), -1)
	if len(places) < 30 {
		t.Fatalf("%d behaviours are to be found", len(places))
	}
	for _, p := range places {
		text, err := os.ReadFile(p[1])
		if err != nil {
			t.Error(err)
		} else if !regexp.MustCompile(`\b` + regexp.QuoteMeta(p[2]) + `\b`).Match(text) {
			t.Errorf("%s has no %s", p[1], p[2])
		}
	}
	_, tree, _ := strings.Cut(string(page), "## The tree")
	tree, rest, _ := strings.Cut(tree, "\n## Words")
	for _, row := range strings.Split(tree, "\n") {
		if folders, _, ok := strings.Cut(strings.TrimPrefix(row, "| "), " | "); ok && strings.HasPrefix(folders, "`") {
			for _, f := range strings.Split(folders, ", ") {
				if i, err := os.Stat(strings.Trim(f, "`")); err != nil || !i.IsDir() {
					t.Errorf("the tree has %s: %v", f, err)
				}
			}
		}
	}
	glossary, _, _ := strings.Cut(rest, "\n## ")
	if n := strings.Count(glossary, "\n| ") - 2; n > 20 {
		t.Errorf("the glossary has %d words, more than 20", n)
	}
}
