package reach

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

// doc is the page with the figures. The text around them is written by hand.
const doc = "../../docs/reach.md"

// writing is held by the test that writes, because tests run in parallel.
var writing sync.Mutex

// write puts each text between the marks with its name.
func write(t *testing.T, texts map[string]string) {
	t.Helper()
	writing.Lock()
	defer writing.Unlock()
	raw, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	all := string(raw)
	for name, text := range texts {
		begin, end := fmt.Sprintf("<!-- %s -->\n", name), fmt.Sprintf("<!-- /%s -->\n", name)
		before, rest, ok := strings.Cut(all, begin)
		_, after, closed := strings.Cut(rest, end)
		if !ok || !closed {
			t.Fatalf("%s has no marks %q", doc, name)
		}
		all = before + begin + text + end + after
	}
	if err := os.WriteFile(doc, []byte(all), 0o644); err != nil {
		t.Fatal(err)
	}
}
