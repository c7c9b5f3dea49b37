package reach

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/culvertmq/culvert/internal/tool"
)

// site has the values that a configuration file may use.
type site struct {
	Listen   string // host:port
	One, Two string // the instances
	Dir      string // for what the program writes
	Snippets string // deployments/proxies
	Options  string // settings of this path
	Modules  []module
}

// module is one of Apache's.
type module struct{ Name, File string }

// modules returns the modules that the configuration needs and that are not built in.
func modules() []module {
	var found []module
	for _, name := range []string{
		"mpm_event", "unixd", "authz_core", "proxy", "proxy_http", "proxy_balancer", "lbmethod_byrequests", "slotmem_shm", "env", "deflate",
	} {
		for _, dir := range []string{"/usr/lib/apache2/modules", "/usr/lib/apache2", "/usr/lib64/httpd/modules", "/opt/homebrew/lib/httpd/modules"} {
			file := filepath.Join(dir, "mod_"+name+".so")
			if _, err := os.Stat(file); err == nil {
				found = append(found, module{name, file})
				break
			}
		}
	}
	return found
}

// program runs a proxy in the foreground with testdata/<file>, and returns its
// address. args come before the name of the finished file.
func (s *scene) program(t *testing.T, file, options, name string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	snippets, err := filepath.Abs("../../deployments/proxies")
	if err != nil {
		t.Fatal(err)
	}
	at := site{
		Listen: freeAddress(t), One: s.instances[0], Two: s.instances[1],
		Dir: dir, Snippets: snippets, Options: options, Modules: modules(),
	}
	conf := filepath.Join(dir, file)
	out, err := os.Create(conf)
	if err != nil {
		t.Fatal(err)
	}
	err = template.Must(template.ParseFiles(filepath.Join("testdata", file))).Execute(out, at)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	s.foreground(t, at, name, append(args, conf)...)
	return at.Listen
}

// foreground starts a program that listens at the site's address, and ends it and
// all of its children with the test. name is that of scripts/need. The environment has the addresses.
func (s *scene) foreground(t *testing.T, at site, name string, args ...string) {
	t.Helper()
	said := &watch{}
	p := exec.Command(tool.Path(t, name), args...)
	p.Dir = at.Dir
	p.Env = append(os.Environ(),
		"LISTEN="+at.Listen, "SITE=http://"+at.Listen, "XDG_DATA_HOME="+at.Dir, "XDG_CONFIG_HOME="+at.Dir, "CULVERT_1="+at.One, "CULVERT_2="+at.Two,
	)
	p.Stdout, p.Stderr = said, said
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
		_ = p.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, said)
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", at.Listen)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen; it said:\n%s", name, said)
		}
	}
}

func (s *scene) nginx(t *testing.T, location string) string {
	return s.program(t, "nginx.conf", location, "nginx", "-e", "stderr", "-c")
}

func (s *scene) haproxy(t *testing.T, timeouts string) string {
	return s.program(t, "haproxy.cfg", timeouts, "haproxy", "-db", "-f")
}

// haproxyAsIs runs the file of deployments/proxies unchanged.
func (s *scene) haproxyAsIs(t *testing.T) string {
	conf, err := filepath.Abs("../../deployments/proxies/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	at := site{Listen: freeAddress(t), One: s.instances[0], Two: s.instances[1], Dir: t.TempDir()}
	s.foreground(t, at, "haproxy", "-db", "-f", conf)
	return at.Listen
}

func (s *scene) apache(t *testing.T, options string) string {
	return s.program(t, "apache.conf", options, "apache", "-DFOREGROUND", "-f")
}

func (s *scene) caddy(t *testing.T, options string) string {
	return s.program(t, "Caddyfile", options, "caddy", "run", "--adapter", "caddyfile", "--config")
}

func (s *scene) squid(t *testing.T) string {
	return s.program(t, "squid.conf", "", "squid", "-N", "-f")
}
