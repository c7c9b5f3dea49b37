package stress

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestGuaranteesNameWhatShowsThem compares docs/guarantees.md with the code: the tests
// and checks that it names exist, and it names every check.
func TestGuaranteesNameWhatShowsThem(t *testing.T) {
	text, err := os.ReadFile("../../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.Join(strings.Fields(string(text)), " ")
	checks, tests := checksMade(t), testsThere(t)
	for _, check := range checks {
		if !strings.Contains(page, `"`+check+`"`) {
			t.Errorf("docs/guarantees.md does not name the check %q", check)
		}
	}
	for _, m := range regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if !slices.Contains(checks, m[1]) {
			t.Errorf("docs/guarantees.md names a check that is not made: %q", m[1])
		}
	}
	for _, name := range regexp.MustCompile(`\bTest\w+`).FindAllString(page, -1) {
		if !tests[name] {
			t.Errorf("docs/guarantees.md names a test that is not there: %s", name)
		}
	}
}

// checksMade returns the names of all checks in this package.
func checksMade(t *testing.T) []string {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`(?:\.breaks\(|promise :?= |oneKeyOneEvent = )"([^"%]+)"`)
	checks := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range pattern.FindAllStringSubmatch(string(text), -1) {
			checks[m[1]] = true
		}
	}
	var list []string
	for check := range checks {
		list = append(list, check)
	}
	return list
}

// testsThere returns the names of all Go tests of the repository.
func testsThere(t *testing.T) map[string]bool {
	tests := map[string]bool{}
	pattern := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	repository := os.DirFS("../..")
	err := fs.WalkDir(repository, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "node_modules":
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(repository, path)
		for _, m := range pattern.FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
