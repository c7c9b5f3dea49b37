package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// fake makes a folder of programs that imitate those of a Postgres version.
func fake(t *testing.T, dir, version string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\necho 'postgres (PostgreSQL) %s'\n", version)
	for _, name := range []string{"initdb", "postgres"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	chosen := fake(t, filepath.Join(root, "chosen"), "15.4")
	path := fake(t, filepath.Join(root, "path"), "16.9 (Debian 16.9-1)")
	nine := fake(t, filepath.Join(root, "lib", "9.6", "bin"), "9.6.24")
	fake(t, filepath.Join(root, "lib", "14", "bin"), "14.1")
	newest := fake(t, filepath.Join(root, "lib", "18", "bin"), "18beta1")
	fetched := fake(t, filepath.Join(root, "fetched"), "17.5")
	globs := []string{filepath.Join(root, "lib", "*", "bin")}
	fetch := func(context.Context, int, func(string)) (string, error) { return fetched, nil }

	for name, test := range map[string]struct {
		search search
		want   int
		dir    string
	}{
		"chosen comes first":         {search{chosen: chosen, path: []string{path}, globs: globs}, 0, chosen},
		"then PATH":                  {search{path: []string{"", "bin", path}, globs: globs}, 0, path},
		"then the newest packaged":   {search{globs: globs}, 0, newest},
		"the data's version decides": {search{chosen: chosen, path: []string{path}, globs: globs}, 14, filepath.Join(root, "lib", "14", "bin")},
		"even an old one":            {search{path: []string{path}, globs: globs}, 9, nine},
		"none is installed":          {search{}, 0, fetched},
		"only a too old one is":      {search{path: []string{nine}}, 0, fetched},
	} {
		t.Run(name, func(t *testing.T) {
			test.search.fetch = fetch
			got, err := test.search.find(t.Context(), test.want, nil)
			if err != nil || got.dir != test.dir {
				t.Errorf("found %+v, %v; want %s", got, err, test.dir)
			}
		})
	}
}

func TestFindFails(t *testing.T) {
	offline := func(context.Context, int, func(string)) (string, error) {
		return "", errors.New("downloading failed: no network")
	}
	s := search{fetch: offline}
	_, err := s.find(t.Context(), 0, nil)
	wantError(t, err, ErrNoBinaries, "none is installed", "no network", binariesVariable, "--database-url")

	s.chosen = t.TempDir()
	_, err = s.find(t.Context(), 0, nil)
	wantError(t, err, os.ErrNotExist, binariesVariable+"="+s.chosen)
}
