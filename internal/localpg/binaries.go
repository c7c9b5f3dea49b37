package localpg

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// binaries is a folder with initdb and postgres of one version.
type binaries struct {
	dir   string
	major int
}

func (b binaries) initdb() string { return filepath.Join(b.dir, "initdb") }

func (b binaries) postgres() string { return filepath.Join(b.dir, "postgres") }

// inspect returns the binaries in dir, asking them for their version.
func inspect(ctx context.Context, dir string) (binaries, error) {
	b := binaries{dir: dir}
	for _, file := range []string{b.initdb(), b.postgres()} {
		if _, err := exec.LookPath(file); err != nil {
			return b, err
		}
	}
	cmd := exec.CommandContext(ctx, b.postgres(), "--version")
	cmd.Env = environment()
	output, err := cmd.Output()
	if err != nil {
		return b, fmt.Errorf("%s --version: %w", b.postgres(), err)
	}
	b.major, err = parseMajor(string(output))
	return b, err
}

// minMajor is the oldest Postgres that Culvert's SQL runs on: 14 introduced
// SQL-standard bodies of functions.
const minMajor = 14

var versionPattern = regexp.MustCompile(`^postgres \(PostgreSQL\) (\d+)\S*`)

// parseMajor reads the output of `postgres --version`, such as
// "postgres (PostgreSQL) 17.5 (Debian 17.5-1)" or "postgres (PostgreSQL) 18beta1".
func parseMajor(output string) (int, error) {
	m := versionPattern.FindStringSubmatch(output)
	if m == nil {
		return 0, fmt.Errorf("%q is not a Postgres version", strings.TrimSpace(output))
	}
	return strconv.Atoi(m[1])
}
