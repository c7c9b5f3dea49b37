package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/internal/localpg"
)

// PoolerVariable names the variable that makes [ThroughPooler] use PgBouncer if it is 1.
const PoolerVariable = "CULVERT_TEST_POOLER"

// pooler is the PgBouncer in front of the shared server.
var pooler struct {
	once sync.Once
	port int
	err  error
	stop func()
}

// ThroughPooler returns dsn, a database of the shared server, unless PoolerVariable asks for
// PgBouncer: then it returns Pooled(t, dsn).
func ThroughPooler(t testing.TB, dsn string) string {
	t.Helper()
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	s, err := pgx.ParseConfig(Server().DSN())
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv(PoolerVariable) != "1" || c.Host != s.Host {
		return dsn
	}
	return Pooled(t, dsn)
}

// Pooled returns the DSN of a database of the shared server through PgBouncer in transaction
// mode. The first test that asks starts PgBouncer, which ends with the test binary.
func Pooled(t testing.TB, dsn string) string {
	t.Helper()
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	pooler.once.Do(func() { pooler.port, pooler.stop, pooler.err = startPooler(t.Context(), Server()) })
	if errors.Is(pooler.err, errNoPooler) && os.Getenv("CI") == "" && os.Getenv(PoolerVariable) == "" {
		t.Skip("pgtest: " + pooler.err.Error())
	}
	if pooler.err != nil {
		t.Fatalf("pgtest: %v", pooler.err)
	}
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", url.PathEscape(c.User), pooler.port, c.Database)
}

// startPooler runs PgBouncer for a server, in a folder of its own.
func startPooler(ctx context.Context, server *localpg.Server) (port int, stop func(), err error) {
	program, err := findPooler()
	if err != nil {
		return 0, nil, err
	}
	c, err := pgx.ParseConfig(server.DSN())
	if err != nil {
		return 0, nil, err
	}
	dir, err := os.MkdirTemp("", "culvert-pooler-")
	if err != nil {
		return 0, nil, err
	}
	if port, err = freePort(); err != nil {
		return 0, nil, err
	}
	settings := fmt.Sprintf(`[databases]
* = host=%s port=%d user=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 10
max_client_conn = 500
server_idle_timeout = 5
`, c.Host, c.Port, c.User, port)
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := errors.Join(os.WriteFile(file, []byte(settings), 0o644), os.Chmod(dir, 0o755)); err != nil { //nolint:gosec // another user reads it
		return 0, nil, err
	}
	cmd := exec.Command(program, file)
	cmd.Stderr = os.Stderr
	if os.Getenv("CULVERT_TEST_POOLER_LOG") == "" {
		cmd.Stderr = nil
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: ordinary()}
	dieWithParent(cmd.SysProcAttr)
	kill, err := startOnOneThread(cmd)
	if err != nil {
		return 0, nil, err
	}
	stop = func() {
		kill()
		_ = os.RemoveAll(dir)
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, fmt.Sprintf("postgres://%s@127.0.0.1:%d/postgres?sslmode=disable", c.User, port))
		if err == nil {
			return port, stop, conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			stop()
			return 0, nil, fmt.Errorf("PgBouncer does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// startOnOneThread starts a child from a thread that lives as long as the child may run.
func startOnOneThread(cmd *exec.Cmd) (kill func(), err error) {
	started, over, ended := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		<-over
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	return func() { close(over); <-ended }, <-started
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// errNoPooler skips tests, but not in CI.
var errNoPooler = errors.New("PgBouncer is missing: scripts/need test installs it")

func findPooler() (string, error) {
	if path, err := exec.LookPath("pgbouncer"); err == nil {
		return path, nil
	}
	const beside = "/usr/sbin/pgbouncer" // in the PATH of root only
	if _, err := os.Stat(beside); err != nil {
		return "", errNoPooler
	}
	return beside, nil
}

// ordinary returns a user for PgBouncer, which refuses to run as root; nil: the present user.
func ordinary() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	return nil
}
