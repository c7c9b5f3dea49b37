// Package tool finds the programs that tests need in addition to Go and PostgreSQL, and skips
// or fails a test on a machine without them.
package tool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// skipped is the exit code of scripts/need for a test that must be skipped.
const skipped = 3

// Path returns the path of a program that scripts/need knows by this name. Without the program
// the test is skipped and counted by `make test`, or fails if CI=true. With
// -short a test that needs more than Go and PostgreSQL is always skipped.
func Path(t testing.TB, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skipf("needs %s: not run with -short", name)
	}
	var stdout, stderr bytes.Buffer
	find := exec.CommandContext(t.Context(), Script(t, "need"), "find", name, t.Name()) //nolint:gosec // it is a script of this repository
	find.Stdout, find.Stderr = &stdout, &stderr
	err := find.Run()
	if err == nil {
		return strings.TrimSpace(stdout.String())
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == skipped {
		uncached()
		t.Skip(strings.TrimSpace(stderr.String()))
	}
	t.Fatalf("find %s: %v\n%s", name, err, stderr.String())
	return ""
}

// Missing skips and counts a test that needs something which cannot be installed.
// This is not an error even if CI=true.
func Missing(t testing.TB, what string) {
	t.Helper()
	if file := uncached(); file != "" {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600) //nolint:gosec // scripts/test made it
		if err == nil {
			_, err = fmt.Fprintf(f, "%s\t%s\n", what, t.Name())
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Skipf("NOT RUN: needs %s, which is not installed", what)
}

// uncached returns the file in which skipped tests are counted. Go reuses cached
// results of a package while the files and variables that its tests read are unchanged.
// Each run of `make test` has another file, so that skipped tests are counted again.
func uncached() string {
	_ = os.Getenv("CI") // the result depends on it, too
	return os.Getenv("CULVERT_NOT_RUN")
}

// Script returns the path of a file of the folder scripts.
func Script(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "scripts", name)
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	t.Fatalf("there is no go.mod in a folder above: %v", err)
	return ""
}
