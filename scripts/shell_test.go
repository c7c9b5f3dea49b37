package scripts

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/culvertmq/culvert/internal/tool"
)

// ours returns the shell scripts of this repository, found by their first line.
func ours(t *testing.T) (files []string) {
	t.Helper()
	var all []string
	first := regexp.MustCompile(`^#!.*\b(sh|bash|dash)\b`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case "node_modules", ".git", "bin", "dist", "build":
				return fs.SkipDir
			}
			return nil
		}
		if d.Type().IsRegular() {
			all = append(all, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if first.Match(b) {
			files = append(files, path)
		}
	}
	if len(files) < 4 {
		t.Fatalf("only %q are shell scripts", files)
	}
	return files
}

func TestShellcheck(t *testing.T) {
	files := ours(t)
	if out, err := exec.CommandContext(t.Context(), tool.Path(t, "shellcheck"), files...).CombinedOutput(); err != nil {
		t.Errorf("shellcheck: %v\n%s", err, out)
	}
}

var (
	opens = regexp.MustCompile(`^\w+\(\) \{`)
	// sets matches an assignment, a loop's variable and a variable of read, in small letters.
	sets = regexp.MustCompile(`(^|[\s;&|(])([a-z_]\w*=|for [a-z_]\w* in|read (-r )?[a-z_])`)
)

// Functions of sh share all variables: has_proxy once changed a variable of need, which then installed
// the wrong package. Only a body in parentheses has its own variables.
func TestFunctionsHaveTheirOwnVariables(t *testing.T) {
	for _, file := range ours(t) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range shared(string(b)) {
			t.Errorf("%s: %q in a function whose variables are global: put its body in parentheses", file, line)
		}
	}
	const clash = "has() {\n\tfor name in \"$@\"; do\n\t\tread -r x\n\t\ta=1 b\n\tdone\n}\nown() (\n\tname=1\n)\nshort() { A=1; echo a=1; }\n"
	if got := shared(clash); len(got) != 3 {
		t.Errorf("found %q", got)
	}
}

// shared returns the lines that set a variable in a function that shares it.
func shared(text string) (lines []string) {
	quoted := regexp.MustCompile(`'[^']*'|"[^"]*"|#.*|(env|echo|export) .*`)
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		inside = inside || opens.MatchString(line)
		if inside && sets.MatchString(quoted.ReplaceAllString(line, "")) {
			lines = append(lines, strings.TrimSpace(line))
		}
		if line == "}" || opens.MatchString(line) && strings.HasSuffix(line, "}") {
			inside = false
		}
	}
	return lines
}
