package localpg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// folder is the folder of a private Postgres; see the package comment.
type folder string

func (f folder) data() string { return filepath.Join(string(f), "data") }
func (f folder) tmp() string  { return filepath.Join(string(f), "initdb-tmp") }
func (f folder) run() string  { return filepath.Join(string(f), "run") }
func (f folder) log() string  { return filepath.Join(string(f), "postgres.log") }
func (f folder) lock() string { return filepath.Join(string(f), "lock") }

// openFolder returns the folder at dir, making it if it is absent, and refuses
// one that another program made.
func openFolder(dir string) (folder, error) {
	if dir == "" {
		return "", errors.New("no folder given for the data")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := folder(abs).make(); err != nil {
		return "", fmt.Errorf("make data folder: %w", err)
	}
	// Postgres resolves links, so this must, too: otherwise the two paths differ.
	resolved, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", err
	}
	return folder(resolved), folder(resolved).check()
}

// make creates the folder with its parents. Root lets other users pass through it, because Postgres
// does not run as root; the folders inside have stricter modes.
func (f folder) make() error {
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711
	}
	return os.MkdirAll(string(f), mode)
}

// check returns an error if the folder was not made by this package.
func (f folder) check() error {
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return fmt.Errorf("read data folder: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if entry.Name() != "lost+found" { // the root of a volume has one
			names = append(names, entry.Name())
		}
	}
	switch {
	case slices.Contains(names, "PG_VERSION"):
		return fmt.Errorf("%w: %s is the data folder of another Postgres; it was left alone: "+
			"give culvert a folder of its own, or that server's address with --database-url", ErrForeign, f)
	case len(names) > 0 && !slices.Contains(names, "lock") && !f.holdsCluster():
		return fmt.Errorf("%w: %s holds other things (%s …); it was left alone: "+
			"give culvert a folder of its own", ErrForeign, f, names[0])
	}
	return nil
}

// holdsCluster reports whether the data folder is a finished cluster.
func (f folder) holdsCluster() bool {
	_, err := os.Stat(filepath.Join(f.data(), "PG_VERSION"))
	return err == nil
}
