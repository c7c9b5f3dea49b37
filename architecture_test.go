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
		} else if !definition(p[2]).Match(text) {
			t.Errorf("%s does not define %s", p[1], p[2])
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

// definition matches where a name is defined, in Go, TypeScript or SQL.
func definition(name string) *regexp.Regexp {
	name = regexp.QuoteMeta(name)
	return regexp.MustCompile(`(?m)^(?:func (?:\([^)]*\) )?|type |const |var |\t|export function |CREATE OR REPLACE (?:FUNCTION|PROCEDURE) )` + name + `\b`)
}
