package scripts

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvertmq/culvert/internal/tool"
)

// `make` lists all of its targets, in two columns.
func TestMakeHelp(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), tool.Path(t, "make"), "--no-print-directory", "-C", "..", "help")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	listed := regexp.MustCompile(`(?m)^make ([a-z-]+ +)\S.*$`).FindAllStringSubmatch(string(out), -1)
	targets := regexp.MustCompile(`(?m)^\.PHONY: (.*)$`).FindAllStringSubmatch(string(makefile), -1)
	if len(listed) != len(targets) || len(listed) != strings.Count(string(out), "\n") {
		t.Fatalf("%d targets, listed are\n%s", len(targets), out)
	}
	for i, l := range listed {
		if strings.TrimSpace(l[1]) != targets[i][1] || len(l[1]) != len(listed[0][1]) || !strings.HasSuffix(l[1], "  ") {
			t.Errorf("%q for %q", l[0], targets[i][1])
		}
	}
}

// served is a running `make run`.
type served struct {
	command *exec.Cmd
	url     string

	mu   sync.Mutex
	said bytes.Buffer
}

// Write keeps the output.
func (s *served) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.Write(b)
}

func (s *served) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

// makeRun prepares `make run` in a new session, so that no other process gets its signals.
func makeRun(t *testing.T) *served {
	t.Helper()
	program := tool.Path(t, "make")
	dir, err := os.MkdirTemp("", "culvert-make-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // for root, Postgres runs as another user
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &served{}
	s.command = exec.CommandContext(t.Context(), program, "--no-print-directory", "-C", "..", "run",
		fmt.Sprintf("ARGS=--listen 127.0.0.1:0 --admin-listen= --data %s", filepath.Join(dir, "data")))
	return s
}

// ready waits until the server that make started prints its address. On a new machine
// it must be compiled first.
func (s *served) ready(t *testing.T) {
	t.Helper()
	where := regexp.MustCompile(`ready (http://\S+)`)
	for deadline := time.Now().Add(8 * time.Minute); s.url == ""; time.Sleep(10 * time.Millisecond) {
		if m := where.FindStringSubmatch(s.String()); m != nil {
			s.url = m[1]
		} else if time.Now().After(deadline) {
			_ = s.command.Process.Kill()
			t.Fatalf("the server is not ready:\n%s", s)
		}
	}
	answer, err := http.Get(s.url + "/readyz") //nolint:noctx // it is there
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
}

// inOrder checks that the server shut down properly, and that make did not report an
// error.
func (s *served) inOrder(t *testing.T) {
	t.Helper()
	if !strings.Contains(s.String(), "postgres stopped") || strings.Contains(s.String(), "***") {
		t.Errorf("make run said\n%s", s)
	}
	if answer, err := http.Get(s.url + "/readyz"); err == nil { //nolint:noctx // the connection is refused at once
		_ = answer.Body.Close()
		t.Error("the server is still there")
	}
}
