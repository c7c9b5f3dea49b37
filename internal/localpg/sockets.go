package localpg

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxSocketPath is what fits in sockaddr_un on every Unix: 104 bytes on macOS
// and the BSDs, 108 on Linux, one of them for the final zero.
const maxSocketPath = 103

// socketFolder chooses the folder of the socket: beside the data, or, if that
// path is too long, a folder below /tmp whose name is derived from the path, so that the DSN is the
// same at the next start.
func (f folder) socketFolder() string {
	if fitsSocket(f.run()) {
		return f.run()
	}
	sum := sha256.Sum256([]byte(f))
	name := "culvert-" + strconv.Itoa(os.Geteuid()) + "-" + hex.EncodeToString(sum[:8])
	if dir := filepath.Join(os.TempDir(), name); fitsSocket(dir) {
		return dir
	}
	return filepath.Join("/tmp", name)
}

// fitsSocket reports whether dir can hold the socket. It also refuses names that a list of hosts, in a DSN
// or in Postgres's own setting, would split or misread.
func fitsSocket(dir string) bool {
	return len(filepath.Join(dir, ".s.PGSQL."+port)) <= maxSocketPath && !strings.ContainsAny(dir, `,"`)
}

// makeSocketFolder makes the folder anew, because a socket's lock file left by a crash
// names a pid that another process may have by now. Only the account can enter the folder, so
// it is safe to accept every connection (initdb --auth=trust).
func (f folder) makeSocketFolder(dir string, a account) error {
	if err := removeSockets(dir); err != nil {
		return err
	}
	if err := a.mkdir(dir); err != nil {
		return fmt.Errorf("make socket folder: %w", err)
	}
	return nil
}

// removeSockets removes what Postgres left in a socket folder, and the folder.
// A folder of that name with anything else in it was made by another program, and is kept.
func removeSockets(dir string) error {
	for _, name := range []string{".s.PGSQL." + port, ".s.PGSQL." + port + ".lock", ""} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("remove old socket: %w", err)
		}
	}
	return nil
}

// dsn returns the address of a database behind the socket, in a form that both pgx
// and libpq accept. It contains the port because otherwise PGPORT would be used.
func dsn(sockets, database string) string {
	// libpq knows %20 but not + for a space; slashes are easier to read as they are.
	host := strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape(sockets))
	return "postgres:///" + url.PathEscape(database) + "?host=" + host + "&port=" + port + "&user=" + superuser
}

// DSN is the address of the database culvert, for pgx, psql and --database-url.
// It stays the same for as long as the folder is in the same place.
func (s *Server) DSN() string {
	return s.DatabaseDSN(superuser)
}

// DatabaseDSN is the address of another database of this server.
func (s *Server) DatabaseDSN(name string) string {
	return dsn(s.sockets, name)
}
