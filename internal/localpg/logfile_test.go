package localpg

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTailLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if got := tailLog(path); got != "" {
		t.Errorf("tail of no log: %q", got)
	}
	write(t, path, "one\ntwo\n")
	if got := tailLog(path); got != "one\ntwo" {
		t.Errorf("tail of a short log: %q", got)
	}
	write(t, path, strings.Repeat("a line of the past\n", 1000)+"the end\n")
	got := tailLog(path)
	if len(got) > logTail || !strings.HasPrefix(got, "a line") || !strings.HasSuffix(got, "the end") {
		t.Errorf("tail of a long log: %q", got)
	}
}

func TestLastWords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for content, want := range map[string]string{
		"":           "",
		"one\ntwo\n": "two",
		"running bootstrap script ... 2026-11-25 03:08:02.189 UTC [2718] FATAL:  could not extend file: No space left on device\n" +
			"HINT:  Check free disk space.\nPANIC:  cannot abort transaction 1\nAborted\n": "FATAL: could not extend file: No space left on device",
		"initdb: error: could not create directory\n": "error: could not create directory",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := lastWords(path); got != want {
			t.Errorf("of %q: %q, want %q", content, got, want)
		}
	}
}

func TestLogIsShortenedUnderItsWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	for _, step := range []struct {
		line string
		want string
	}{
		{"12345", "12345"},
		{"6789", ""}, // beyond the limit
		{"go on", "go on"},
	} {
		if _, err := log.WriteString(step.line); err != nil {
			t.Fatal(err)
		}
		shortenLog(path, 8)
		if got, err := os.ReadFile(path); string(got) != step.want || err != nil {
			t.Errorf("after %q the log holds %q, %v", step.line, got, err)
		}
	}
}
