package cmd

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/culvertmq/culvert/internal/tool"
)

// TestCommands runs the commands against one server that made its own Postgres and secrets, as on a new
// machine.
func TestCommands(t *testing.T) {
	data := dataFolder(t)
	s := serve(t, data)
	env := s.of(data)
	t.Run("one event", func(t *testing.T) { testEmitOne(t, env) })
	t.Run("lines", func(t *testing.T) { testEmitLines(t, env) })
	t.Run("trickle", func(t *testing.T) { testTrickle(t, env) })
	t.Run("webhooks", func(t *testing.T) { testWebhooks(t, env) })
	t.Run("token", func(t *testing.T) { testToken(t, s, data) })
	t.Run("bad token", func(t *testing.T) { testBadToken(t, s) })
	t.Run("healthcheck", func(t *testing.T) { testHealthcheck(t, s) })
	t.Run("curl", func(t *testing.T) { testCurl(t, s) })
	for _, transport := range []string{"--poll=false", "--poll"} {
		t.Run("ack "+transport, func(t *testing.T) { testAck(t, env, transport) })
		t.Run("gap "+transport, func(t *testing.T) { testOtherLog(t, env, transport) })
	}
}

func testHealthcheck(t *testing.T, s *program) {
	address := strings.TrimPrefix(s.url, "http://")
	must(t, "", nil, "healthcheck", "--listen", address)
	must(t, "", []string{"PORT=" + address[strings.LastIndex(address, ":")+1:], "http_proxy=http://127.0.0.1:1"}, "healthcheck", "--live")
	free, err := openPort("listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := run(t, "", nil, "healthcheck", "--listen", nobody); code != exitFailure || !strings.Contains(stderr, "not healthy") {
		t.Errorf("without a server: %d, %s", code, stderr)
	}
	if code, _, _ := run(t, "", []string{"CULVERT_LISTEN=127.0.0.1:0"}, "healthcheck"); code != exitFailure {
		t.Errorf("port 0: %d", code)
	}
}

// testCurl runs the commands that serve prints, as a shell would.
func testCurl(t *testing.T, s *program) {
	tool.Path(t, "curl")
	commands := regexp.MustCompile(`(?m)^  (curl .*)$`).FindAllStringSubmatch(s.stderr.String(), -1)
	if len(commands) != 3 {
		t.Fatalf("%d commands in %s", len(commands), s.stderr)
	}
	stream, poll, emit := commands[0][1], commands[1][1], commands[2][1]
	var got [2]*output
	for i, command := range []string{stream, poll} {
		got[i] = newOutput()
		c := exec.CommandContext(t.Context(), "sh", "-c", "exec "+command+" --silent")
		c.Stdout = got[i]
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = c.Process.Kill()
			_ = c.Wait()
		})
	}
	got[0].await(t, "culvert:hello")
	// The test cannot see when the poll waits, so it emits until the poll has answered.
	for tries := 0; !strings.Contains(got[1].String(), "greeting"); tries++ {
		if out, err := exec.Command("sh", "-c", emit+" --silent").CombinedOutput(); err != nil || !strings.Contains(string(out), "offset") || tries > 1000 { //nolint:noctx // it is short
			t.Fatalf("%s: %s, %v", emit, out, err)
		}
	}
	got[0].await(t, `data: \{.*"event":"greeting"`)
}

func TestConfigCheck(t *testing.T) {
	const secret = "hunter2hunter2hunter2hunter2hunter2"
	file := write(t, "jwt-secret: "+secret+"\nheartbeat: 5\n")
	out := must(t, "", []string{"DATABASE_URL=postgres://u:" + secret + "@h/d", "PORT=99"}, "config", "check", "--config", file, "--api-keys="+secret, "--data=/x", "--jwt-public-key="+publicPEM, "--jwt-audience=me")
	for _, want := range []string{
		`listen +:99 +PORT`, `database-url +postgres://u:\*{8}@h/d +DATABASE_URL`, `jwt-secret +\*{8} +file `,
		`api-keys +\*{8} +flag --api-keys`, `heartbeat +5 +file `, `slice +1h +default`,
		`jwt-public-key +PEM, 1 block\(s\) +flag`, `jwt-audience +me +flag`, `jwt-leeway +5 +default`,
	} {
		if !regexp.MustCompile(`(?m)^` + want).MatchString(out) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, secret) {
		t.Errorf("a secret is shown:\n%s", out)
	}
	code, _, stderr := run(t, "", []string{"CULVERT_LISTNE=x", "HOME=/"}, "config", "check", "--drain=1h")
	if code != exitFailure || !strings.Contains(stderr, "drain") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// TestHelp: every command has help. It is shown for errors in the command line, and not for errors at run time.
func TestHelp(t *testing.T) {
	for _, args := range []string{"serve", "emit", "listen", "token", "migrate", "migrate up", "migrate status", "handlers", "handlers list", "handlers parked", "handlers retry", "handlers drop", "healthcheck", "config", "config check", "version"} {
		if out := must(t, "", nil, append(strings.Fields(args), "--help")...); !strings.Contains(out, "Usage:") {
			t.Errorf("%s --help prints %s", args, out)
		}
	}
	for _, args := range []string{"serv", "serve x", "serve --nope", "token", "config chek"} {
		code, stdout, stderr := run(t, "", nil, strings.Fields(args)...)
		if code != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "--help") {
			t.Errorf("%s: exit code %d, %s%s", args, code, stdout, stderr)
		}
	}
	if out := must(t, "", nil, "version"); !strings.HasPrefix(out, "culvert ") {
		t.Errorf("version prints %s", out)
	}
}
