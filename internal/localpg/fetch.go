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

// newClusterMajor is the version that is downloaded if none is installed.
const newClusterMajor = 17

// fetch downloads Postgres into this machine's cache, once per version.
func fetch(ctx context.Context, major int, progress func(string)) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	return download{cache: cache, repository: "https://repo1.maven.org/maven2"}.fetch(ctx, major, progress)
}

// cacheDir returns a folder that is kept between runs. Root's own cache cannot be used, because the user
// that Postgres runs as could not enter it.
func cacheDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache/culvert", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder to download PostgreSQL to: %w", err)
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
		// download, or with this process.
		return "", context.Cause(ctx)
	}
}

// install unpacks into another folder and renames it to home, so that home is always
// complete. Two processes may do so at once: the second one then finds
// home already there, and uses it.
func (d download) install(ctx context.Context, version embeddedpostgres.PostgresVersion, home string) error {
	if err := os.MkdirAll(d.cache, 0o755); err != nil { //nolint:gosec // the user that runs Postgres must enter it
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

// unpack uses the library only to choose the build for this
// machine, download it, check its checksum and unpack it. The library would then
// run the server in its own way (on TCP, with a password, not as root). A
// data folder with an invalid cluster makes it fail at that point. So its
// error counts only if the binaries are missing or do not run.
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
		Port(0). // the library probes the port before it downloads: any port will do
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
	return os.Chmod(to, 0o755) //nolint:gosec // the user that runs Postgres must enter it
}
