package stress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/internal/localpg"
)

// cluster is a Postgres whose folder can be copied and replaced, and which can have a standby.
type cluster struct {
	dir    string
	server *localpg.Server
}

func makeClusterDir() (string, error) {
	// By this name, the next run finds and removes folders of killed runs.
	dir, err := os.MkdirTemp("", "culvert-throwaway-stress-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711) // Postgres may run as another user, which must pass
}

// startCluster runs the Postgres in dir, making it if it is not there.
func startCluster(ctx context.Context, dir string) (*cluster, error) {
	server, err := localpg.Start(ctx, localpg.Options{Dir: dir, Settings: map[string]string{
		"fsync":                            "off", // only the machine's crashes would matter: see pgtest
		"max_wal_size":                     "64MB",
		"min_wal_size":                     "32MB",
		"wal_keep_size":                    "48MB",
		"shared_buffers":                   "32MB",
		"max_connections":                  "150",
		"wal_retrieve_retry_interval":      "100ms",
		"autovacuum_naptime":               "5s",
		"deadlock_timeout":                 "200ms",
		"log_lock_waits":                   "off",
		"wal_receiver_status_interval":     "1s",
		"hot_standby":                      "on",
		"max_standby_streaming_delay":      "0",
		"tcp_keepalives_idle":              "5",
		"client_connection_check_interval": "0",
	}})
	if err != nil {
		return nil, err
	}
	return &cluster{dir, server}, nil
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

// socket returns the path of its socket, for a forwarder.
func (c *cluster) socket() string {
	_, rest, _ := strings.Cut(c.server.DSN(), "host=")
	host, _, _ := strings.Cut(rest, "&")
	return filepath.Join(host, ".s.PGSQL.5432")
}

// remove stops it for good.
func (c *cluster) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return errors.Join(c.server.Stop(ctx), os.RemoveAll(c.dir))
}

// snapshot copies the folder of the stopped server, as a volume's snapshot does.
func (c *cluster) snapshot(to string) error { return copyFolder(c.data(), to, nil) }

// putBack replaces the folder of the stopped server by a snapshot.
func (c *cluster) putBack(from string) error {
	if err := os.RemoveAll(c.data()); err != nil {
		return err
	}
	return copyFolder(from, c.data(), nil)
}

// standby makes a streaming standby of the running cluster from a base backup; it
// connects to the primary through the given port.
func (c *cluster) standby(ctx context.Context, port string) (*cluster, error) {
	dir, err := makeClusterDir()
	if err != nil {
		return nil, err
	}
	s, err := c.standbyIn(ctx, dir, port)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func (c *cluster) standbyIn(ctx context.Context, dir, port string) (*cluster, error) {
	conn, err := pgx.Connect(ctx, c.server.DSN())
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	start, stop := `SELECT pg_backup_start('stress', true)`, `SELECT labelfile FROM pg_backup_stop(false)`
	var version string
	if err := conn.QueryRow(ctx, `SHOW server_version_num`).Scan(&version); err != nil {
		return nil, err
	}
	if version < "150000" {
		start, stop = `SELECT pg_start_backup('stress', true, false)`, `SELECT labelfile FROM pg_stop_backup(false, false)`
	}
	if _, err := conn.Exec(ctx, start); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	// Its write-ahead log comes by streaming.
	if err := copyFolder(c.data(), data, func(path string) bool { return filepath.Dir(path) == "pg_wal" && len(filepath.Base(path)) == 24 }); err != nil {
		return nil, err
	}
	var label string
	if err := conn.QueryRow(ctx, stop).Scan(&label); err != nil {
		return nil, err
	}
	conninfo := "primary_conninfo = 'host=127.0.0.1 port=" + port + " user=culvert sslmode=disable'\n"
	for file, text := range map[string]string{"backup_label": label, "standby.signal": "", "postgresql.auto.conf": conninfo} {
		path := filepath.Join(data, file)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
		if err := sameOwner(filepath.Join(data, "PG_VERSION"), path); err != nil {
			return nil, err
		}
	}
	return startCluster(ctx, dir)
}

// promote makes a standby the primary.
func (c *cluster) promote(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, c.server.DSN())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var promoted bool
	if err := conn.QueryRow(ctx, `SELECT pg_promote(true, 60)`).Scan(&promoted); err != nil {
		return err
	}
	if !promoted {
		return errors.New("the standby was not promoted within a minute")
	}
	return nil
}

// copyFolder copies a data folder with its owners. Files that vanish meanwhile from a
// running server's folder do not matter, because its write-ahead log has the changes.
func copyFolder(from, to string, skip func(path string) bool) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		switch {
		case strings.HasPrefix(name, "postmaster."), skip != nil && skip(name):
			return nil
		case d.IsDir():
			if err := os.MkdirAll(target, 0o700); err != nil {
				return err
			}
		case d.Type().IsRegular():
			if err := copyFile(path, target); errors.Is(err, fs.ErrNotExist) {
				return nil
			} else if err != nil {
				return err
			}
		default:
			return fmt.Errorf("copy %s: neither a file nor a folder", path)
		}
		if err := sameOwner(path, target); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return sameOwner(from, target)
	})
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}

// sameOwner gives a file to the owner of another file; only root can do that, and only root must.
func sameOwner(of, file string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(of)
	if err != nil {
		return err
	}
	stat := info.Sys().(*syscall.Stat_t)
	return os.Chown(file, int(stat.Uid), int(stat.Gid))
}
