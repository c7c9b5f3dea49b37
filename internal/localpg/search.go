package localpg

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// binariesVariable is the variable that names the folder in which initdb and postgres are searched first.
const binariesVariable = "CULVERT_PG_BIN"

// search lists where Postgres may be installed.
type search struct {
	chosen string   // the operator's choice, or empty
	path   []string // folders in the order of PATH
	globs  []string // folders of package managers, tried newest version first
	// fetch downloads a major version and returns the folder of its binaries;
	// 0 means the best version for a new cluster.
	fetch func(ctx context.Context, major int, progress func(string)) (string, error)
}

// systemSearch lists where the operator and the package manager of this machine put Postgres.
func systemSearch() *search {
	return &search{
		chosen: os.Getenv(binariesVariable),
		path:   filepath.SplitList(os.Getenv("PATH")),
		globs: []string{
			"/usr/lib/postgresql/*/bin",         // Debian, Ubuntu
			"/usr/libexec/postgresql*",          // Alpine
			"/usr/pgsql-*/bin",                  // Red Hat, from postgresql.org
			"/opt/homebrew/opt/postgresql*/bin", // macOS on Apple silicon
			"/usr/local/opt/postgresql*/bin",    // macOS on Intel
			"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
		},
		fetch: fetch,
	}
}

// find returns binaries of the wanted major version, or, if that is 0, the best
// ones for a new cluster.
func (s *search) find(ctx context.Context, want int, progress func(string)) (binaries, error) {
	installed, err := s.installed(ctx)
	if err != nil {
		return binaries{}, err
	}
	for _, b := range installed {
		if b.major == want || want == 0 && b.major >= minMajor {
			return b, nil
		}
	}
	dir, err := s.fetch(ctx, want, progress)
	if err != nil {
		return binaries{}, missing(want, installed, err)
	}
	return inspect(ctx, dir)
}

// installed lists the binaries on this machine, best first. A folder that the operator
// named must be usable; in other folders, binaries that do not run are ignored.
func (s *search) installed(ctx context.Context) ([]binaries, error) {
	var found []binaries
	if s.chosen != "" {
		b, err := inspect(ctx, s.chosen)
		if err != nil {
			return nil, fmt.Errorf("%s=%s: %w", binariesVariable, s.chosen, err)
		}
		found = append(found, b)
	}
	for _, dir := range s.path {
		// An empty or relative entry of PATH depends on the working directory, from
		// which no database server should be run.
		if !filepath.IsAbs(dir) {
			continue
		}
		if b, err := inspect(ctx, dir); err == nil {
			found = append(found, b)
		}
	}
	var packaged []binaries
	for _, glob := range s.globs {
		dirs, err := filepath.Glob(glob)
		if err != nil {
			return nil, fmt.Errorf("look in %s: %w", glob, err)
		}
		for _, dir := range dirs {
			if b, err := inspect(ctx, dir); err == nil {
				packaged = append(packaged, b)
			}
		}
	}
	slices.SortStableFunc(packaged, func(a, b binaries) int { return b.major - a.major })
	return append(found, packaged...), ctx.Err()
}

// missing returns the error that says what to install.
func missing(want int, installed []binaries, cause error) error {
	found := "none is installed"
	if len(installed) > 0 {
		var list []string
		for _, b := range installed {
			list = append(list, fmt.Sprintf("%d in %s", b.major, b.dir))
		}
		found = "installed: " + strings.Join(list, ", ")
	}
	if want == 0 {
		return fmt.Errorf("%w of version %d or newer (%s) and %w; install PostgreSQL, or name the folder of its "+
			"initdb and postgres in %s, or use a running server with --database-url",
			ErrNoBinaries, minMajor, found, cause, binariesVariable)
	}
	return fmt.Errorf("%w of version %d, which made this data folder (%s) and %w; install PostgreSQL %d "+
		"(Debian: postgresql-%d, Alpine: postgresql%d, Homebrew: postgresql@%d) or name the folder of its "+
		"initdb and postgres in %s", ErrNoBinaries, want, found, cause, want, want, want, want, binariesVariable)
}
