package localpg

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

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

// clusterMajor returns the major version that made the cluster in dir; 0 if dir
// holds none.
func clusterMajor(dir string) (int, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || major <= 0 {
		// Before Postgres 10 the file held two numbers.
		return 0, fmt.Errorf("%w: %s was made by PostgreSQL %q, which culvert cannot run",
			ErrForeign, dir, strings.TrimSpace(string(raw)))
	}
	return major, nil
}
