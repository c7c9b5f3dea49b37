package examples

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	_ "github.com/culvertmq/culvert/cmd" // see look
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/internal/tool"
)

// The examples migrate the schema themselves.
func TestMain(m *testing.M) {
	pgtest.Main(m, func(context.Context, string) error { return nil })
}

// section is one example of README.md: its commands, of which all but the last keep running, and what the
// last one prints.
type section struct {
	name     string
	commands []string
	prints   string
}

// needs are the programs that an example needs in addition to Go and PostgreSQL.
var needs = map[string][]string{
	"Embed":                    {"curl"},
	"Emit in a transaction":    nil,
	"A durable handler":        nil,
	"A chat backend in Python": {"curl", "python3"},
	"A chat backend in Node":   {"curl", "node"},
}

// The commands in README.md print what README.md says.
func TestExamples(t *testing.T) {
	sections := read(t, "README.md")
	if len(sections) != len(needs) {
		t.Errorf("README.md has %d examples, want %d", len(sections), len(needs))
	}
	for _, s := range sections {
		t.Run(s.name, func(t *testing.T) {
			tools, known := needs[s.name]
			if !known || len(s.commands) == 0 || s.prints == "" {
				t.Fatalf("README.md has %d commands for it that print %q", len(s.commands), s.prints)
			}
			path := os.Getenv("PATH")
			for _, name := range tools {
				path = filepath.Dir(tool.Path(t, name)) + string(os.PathListSeparator) + path
			}
			env := append(os.Environ(), "DATABASE_URL="+pgtest.Database(t), "PATH="+path)
			port := freePort(t)
			for i, command := range s.commands {
				c := start(t, env, strings.ReplaceAll(command, ":8090", ":"+port))
				if i < len(s.commands)-1 {
					c.awaitReady(t)
					continue
				}
				if got := c.awaitEnd(t); !matches(s.prints, got) {
					t.Errorf("the command prints\n%s\nand README.md says\n%s", got, s.prints)
				}
			}
		})
	}
}

// README.md runs every example.
func TestEveryExampleIsInTheReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	folders := 0
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		folders++
		look(t, e.Name())
		if !regexp.MustCompile(`(?m)^(CULVERT|go run).* \S*examples/` + e.Name() + `\b`).Match(text) {
			t.Errorf("README.md does not run examples/%s", e.Name())
		}
	}
	if folders != len(needs) {
		t.Errorf("there are %d examples, and the test runs %d", folders, len(needs))
	}
}

// look reads the files of an example, so that Go runs the tests again when they have changed: Go does not know
// which files the commands read. The import of cmd does the same for the program and all its packages.
func look(t *testing.T, folder string) {
	t.Helper()
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, err := os.ReadFile(filepath.Join(folder, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// read returns the sections of a page: the commands in blocks of sh, and the expected output in the block of text after them.
func read(t *testing.T, page string) (sections []section) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^## ([^\n]+)$|^```(sh|text)\n(.*?)^```$")
	for _, m := range blocks.FindAllStringSubmatch(string(text), -1) {
		if m[1] != "" {
			sections = append(sections, section{name: m[1]})
			continue
		}
		s := &sections[len(sections)-1]
		if m[2] == "sh" {
			s.commands = append(s.commands, m[3])
		} else {
			s.prints = m[3]
		}
	}
	return sections
}

// matches reports whether a program printed what it should, where "…" stands for any text within a line.
func matches(want, got string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "…", `[^\n]+?`)
	return regexp.MustCompile(`\A` + pattern + `\z`).MatchString(got)
}
