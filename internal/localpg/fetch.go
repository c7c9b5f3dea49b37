package localpg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// releases are the versions that can be downloaded, by major version.
var releases = map[int]embeddedpostgres.PostgresVersion{
	14: embeddedpostgres.V14,
	15: embeddedpostgres.V15,
	16: embeddedpostgres.V16,
	17: embeddedpostgres.V17,
	18: embeddedpostgres.V18,
}

// newClusterMajor is downloaded when nothing is installed.
const newClusterMajor = 17

// fetch downloads Postgres into this machine's cache, once per version.
func fetch(ctx context.Context, major int, progress func(string)) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	return download{cache: cache, repository: "https://repo1.maven.org/maven2"}.fetch(ctx, major, progress)
}

// cacheDir is kept between runs. Root's own cache is no use: the user Postgres
// runs as could not enter it.
func cacheDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache/culvert", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place to download PostgreSQL to: %w", err)
	}
	return filepath.Join(dir, "culvert"), nil
}

// download fetches Postgres from a Maven repository of zonky.io's builds.
type download struct {
	cache      string
	repository string
}

func (d download) fetch(ctx context.Context, major int, progress func(string)) (string, error) {
	if major == 0 {
		major = newClusterMajor
	}
	version, ok := releases[major]
	if !ok {
		return "", fmt.Errorf("version %d cannot be downloaded", major)
	}
	home := filepath.Join(d.cache, "postgresql-"+string(version))
	bin := filepath.Join(home, "bin")
	if _, err := inspect(ctx, bin); err == nil {
		return bin, nil
	}
	progress(fmt.Sprintf("downloading PostgreSQL %s (about 10 MB)", version))
	done := make(chan error, 1)
	go func() { done <- d.install(ctx, version, home) }()
	select {
	case err := <-done:
		if err != nil {
			return "", fmt.Errorf("downloading PostgreSQL %s failed: %w", version, err)
		}
		return bin, nil
	case <-ctx.Done():
		// The library cannot be interrupted: its goroutine ends with the
		// download, or with the process that was told to stop.
		return "", context.Cause(ctx)
	}
}

// install unpacks beside home and renames, so that what is found at home is
// whole. Two processes may do so at once: the one that comes second finds the
// first one's work in the way, and uses it.
func (d download) install(ctx context.Context, version embeddedpostgres.PostgresVersion, home string) error {
	if err := os.MkdirAll(d.cache, 0o755); err != nil { //nolint:gosec // the user Postgres runs as has to enter it
		return err
	}
	tmp, err := os.MkdirTemp(d.cache, "unpack-")
	if err != nil {
		return err
	}
	unpacked := filepath.Join(tmp, "postgresql")
	if err = d.unpack(ctx, version, tmp, unpacked); err == nil {
		err = os.Rename(unpacked, home)
	}
	if _, found := inspect(ctx, filepath.Join(home, "bin")); found == nil {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(tmp))
}

// unpack uses the library for what it does best: choosing the build for this
// machine, downloading it, checking its checksum and unpacking it. It would go
// on to run the server, its own way (on TCP, with a password, not as root); a
// data folder that only claims to hold a cluster ends it there. So its
// error counts only when the binaries are not there or do not run.
func (d download) unpack(ctx context.Context, version embeddedpostgres.PostgresVersion, tmp, to string) error {
	data := filepath.Join(tmp, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	major := []byte(version)[:2]
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), append(major, '\n'), 0o600); err != nil {
		return err
	}
	library := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(version).
		BinaryRepositoryURL(d.repository).
		CachePath(tmp).
		RuntimePath(filepath.Join(tmp, "runtime")).
		BinariesPath(to).
		DataPath(data).
		Port(0). // it probes the port before it downloads: any is fine
		Logger(io.Discard))
	failed := library.Start()
	if failed == nil {
		failed = library.Stop()
	}
	if _, err := inspect(ctx, filepath.Join(to, "bin")); err != nil {
		if failed != nil {
			return failed
		}
		return err
	}
	return os.Chmod(to, 0o755) //nolint:gosec // the user Postgres runs as has to enter it
}
