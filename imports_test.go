package main

import (
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/culvertmq/culvert/"

// floors are the packages, from the ground up. A package imports only what is on floors below its own.
var floors = [][]string{
	{"internal/jsontext", "internal/trusted", "api/park", "internal/localpg", "cmd/usage", "web", "clients/go"},
	{"event"},
	{"internal/postgres", "internal/decode"},
	{"internal/batch", "internal/lineage", "migrations"},
	{"queue/registry", "queue/handlers", "queue/tail"},
	{"queue/log"},
	{"queue", "api/wire"},
	{"api/auth"},
	{"api/limits"},
	{"api/visit", "api/stream"},
	{"api"},
	{"cmd/config", "examples"},
	{"cmd/bench"},
	{"cmd"},
}

var update = flag.Bool("update", false, "draw the imports in docs/architecture.md anew")

// Imports run down, and the drawing in docs/architecture.md is that of the code. Where it is
// not, "go test . -run TestImportsRunDown -update" draws it anew.
func TestImportsRunDown(t *testing.T) {
	floor := map[string]int{}
	for n, all := range floors {
		for _, p := range all {
			floor[p] = n
		}
	}
	imports := readImports(t)
	for p, all := range imports {
		if _, known := floor[p]; !known {
			t.Errorf("%s is on no floor: add it to floors", p)
		}
		for i := range all {
			if floor[i] >= floor[p] {
				t.Errorf("%s imports %s, which is not on a floor below", p, i)
			}
		}
	}
	for p := range floor {
		if imports[p] == nil {
			t.Errorf("there is no package %s", p)
		}
	}
	const file = "docs/architecture.md"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(page), "```mermaid\n")
	drawn, after, _ := strings.Cut(rest, "```\n")
	want := draw(imports)
	if drawn == want {
		return
	}
	if !*update {
		t.Fatalf("%s draws other imports than the code has; -update draws\n%s", file, want)
	}
	if err := os.WriteFile(file, []byte(before+"```mermaid\n"+want+"```\n"+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// readImports has, for each package of the server, those it imports outside of tests. All
// examples are one.
func readImports(t *testing.T) map[string]map[string]bool {
	imports := map[string]map[string]bool{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != "." || d.Name() == "node_modules" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		p := packageOf(filepath.ToSlash(filepath.Dir(name)))
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || p == "" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		if imports[p] == nil {
			imports[p] = map[string]bool{}
		}
		for _, i := range f.Imports {
			text, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			if to := packageOf(strings.TrimPrefix(text, module)); strings.HasPrefix(text, module) && to != p {
				imports[p][to] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return imports
}

// packageOf is the package of a folder as the drawing names it; "" if it is for tests alone.
func packageOf(folder string) string {
	switch folder {
	case ".", "scripts", "internal/tool", "internal/localpg/pgtest", "api/internal/apitest", "internal/reach", "internal/stress", "internal/abuse":
		return ""
	}
	if strings.HasPrefix(folder, "examples/") {
		return "examples"
	}
	return folder
}

// draw draws the imports that do not follow from others.
func draw(imports map[string]map[string]bool) string {
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	node := func(p string) string {
		if !strings.Contains(p, "/") {
			return p
		}
		return fmt.Sprintf("%s[%s]", strings.ReplaceAll(p, "/", "-"), p)
	}
	for _, all := range slices.Backward(floors) {
		for _, p := range all {
			for _, i := range slices.Sorted(maps.Keys(imports[p])) {
				if !reaches(imports, p, i) {
					fmt.Fprintf(&b, "    %s --> %s\n", node(p), node(i))
				}
			}
		}
	}
	return b.String()
}

// reaches reports whether a package imports another one by way of a third.
func reaches(imports map[string]map[string]bool, from, to string) bool {
	for between := range imports[from] {
		if between != to && (imports[between][to] || reaches(imports, between, to)) {
			return true
		}
	}
	return false
}

// No package has more files than a reader can keep apart, and no file is too long to be read at once.
func TestFilesAreFewAndShort(t *testing.T) {
	const mostFiles, mostLines = 25, 350
	files := map[string]int{}
	tree := os.DirFS(".")
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != "." || slices.Contains([]string{"node_modules", "dist", "bin", "testdata"}, d.Name())) {
			return fs.SkipDir
		}
		if d.IsDir() || !slices.Contains([]string{".go", ".ts", ".sql"}, path.Ext(name)) {
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		if n := strings.Count(string(text), "\n"); n > mostLines {
			t.Errorf("%s has %d lines, more than %d", name, n, mostLines)
		}
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			files[path.Dir(name)]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for p, n := range files {
		if n > mostFiles {
			t.Errorf("%s has %d files, more than %d", p, n, mostFiles)
		}
	}
}
