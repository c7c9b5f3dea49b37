package cmd

import (
	"os"
	"strings"
	"testing"

	"github.com/culvertmq/culvert/cmd/config"
)

// docs/security.md lists every limit that can be set.
func TestEveryLimitIsInTheSecurityPage(t *testing.T) {
	page, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range config.Settings {
		if !strings.HasPrefix(s.Name, "max-") && !strings.HasPrefix(s.Name, "rate-") {
			continue
		}
		if !strings.Contains(string(page), "| `--"+s.Name+"` | ") {
			t.Errorf("--%s is not in the table of limits", s.Name)
		}
	}
}
