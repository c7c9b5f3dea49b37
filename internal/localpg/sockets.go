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

// socketFolder chooses where the socket goes: beside the data, or, when that
// path is too long, a folder below /tmp named after it, so that the DSN is the
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

// fitsSocket also turns down what a list of hosts, in a DSN or in Postgres's own
// setting, would not carry as one name.
func fitsSocket(dir string) bool {
	return len(filepath.Join(dir, ".s.PGSQL."+port)) <= maxSocketPath && !strings.ContainsAny(dir, `,"`)
}

// makeSocketFolder makes the folder afresh: a socket's lock file left by a crash
// names a pid that may be somebody else's by now. Only the account can enter it,
// which is what makes it safe to let in whoever connects (initdb --auth=trust).
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
// A folder of that name with anything else in it is not ours, and stays.
func removeSockets(dir string) error {
	for _, name := range []string{".s.PGSQL." + port, ".s.PGSQL." + port + ".lock", ""} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("remove old socket: %w", err)
		}
	}
	return nil
}

// dsn is the address of a database behind the socket, in the form that both pgx
// and libpq take. The port is spelled out lest PGPORT be taken for it.
func dsn(sockets, database string) string {
	// libpq knows %20 but not + for a space; slashes are easier to read as they are.
	host := strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape(sockets))
	return "postgres:///" + url.PathEscape(database) + "?host=" + host + "&port=" + port + "&user=" + superuser
}
