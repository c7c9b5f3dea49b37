package cmd

import (
	"os"
	"strings"
	"testing"
)

// docs/security.md lists every limit that can be set, so that nobody has to find it by
// reaching it.
func TestEveryLimitIsInTheSecurityPage(t *testing.T) {
	page, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		if !strings.HasPrefix(s.name, "max-") && !strings.HasPrefix(s.name, "rate-") {
			continue
		}
		if !strings.Contains(string(page), "| `--"+s.name+"` | ") {
			t.Errorf("--%s is not in the table of limits", s.name)
		}
	}
}
