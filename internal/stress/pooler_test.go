package stress

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// pooler is a PgBouncer in transaction mode in front of the forwarder.
type pooler struct {
	port string
	file string
	cmd  *exec.Cmd
}

// findPgBouncer returns "" if it is not installed. Debian puts it into a folder that only
// root has in PATH.
func findPgBouncer() string {
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func newPooler(ctx context.Context, dir, behind string) (*pooler, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, err
	}
	if err := l.Close(); err != nil {
		return nil, err
	}
	p := &pooler{port: port, file: filepath.Join(dir, "pgbouncer.ini")}
	text := fmt.Sprintf(`[databases]
culvert = host=127.0.0.1 port=%s dbname=culvert user=culvert
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 10
max_client_conn = 500
server_login_retry = 0.3
query_wait_timeout = 10
`, behind, port)
	if err := os.WriteFile(p.file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	return p, p.start(ctx)
}

// dsn uses only what PgBouncer 1.18 supports in transaction mode.
func (p *pooler) dsn() string {
	return "postgres://culvert@127.0.0.1:" + p.port + "/culvert?sslmode=disable&default_query_exec_mode=exec"
}

func (p *pooler) start(ctx context.Context) error {
	p.cmd = exec.Command(findPgBouncer(), "-q", p.file)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Geteuid() == 0 { // PgBouncer refuses to run as root
		nobody, err := user.Lookup("nobody")
		if err != nil {
			return err
		}
		uid, _ := strconv.ParseUint(nobody.Uid, 10, 32)
		gid, _ := strconv.ParseUint(nobody.Gid, 10, 32)
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); ; rest(ctx, 20*time.Millisecond) {
		c, err := net.Dial("tcp", "127.0.0.1:"+p.port)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("PgBouncer does not listen: %w", err)
		}
	}
}

func (p *pooler) kill() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}
