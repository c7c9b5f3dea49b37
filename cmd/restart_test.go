package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/culvertmq/culvert/cmd/config"
)

// TestRestart: a server is killed and started again. Events before and after arrive once and in order, over
// both transports, and an emit during the outage waits for the server.
func TestRestart(t *testing.T) {
	data := dataFolder(t)
	c := spawn(t, serveArgs(data)...)
	env := []string{"CULVERT_URL=" + c.url, "CULVERT_DATA=" + data}
	listeners := []*program{
		start(t, env, "listen", "--rooms=r", "--from-earliest", "--json"),
		start(t, env, "listen", "--rooms=r", "--from-earliest", "--json", "--poll"),
		start(t, env, "listen", "--client=c", "--from-earliest", "--json", "--ack"),
	}
	emit := func(n int) *program {
		return start(t, env, "emit", "--room=r", "--room=@c", "--event=n", strconv.Itoa(n))
	}
	const events = 9
	for n := range events {
		if n%3 == 2 {
			c.end(t, syscall.SIGKILL)
		}
		p := emit(n)
		if n%3 == 2 {
			p.stderr.await(t, "cannot reach")
			c = spawn(t, serveArgs(data, "--listen", strings.TrimPrefix(c.url, "http://"))...)
		}
		if code := p.wait(t); code != exitOK {
			t.Fatalf("emit %d: %s", n, p.stderr)
		}
	}
	for i, l := range listeners {
		for n, line := range l.stdout.awaitLines(t, events) {
			if n >= events || !strings.Contains(line, fmt.Sprintf(`"data":%d,`, n)) {
				t.Errorf("listener %d: line %d is %s", i, n, line)
			}
		}
		if i != 1 { // a single failed poll is not reported
			l.stderr.await(t, "connected again")
		}
		l.cancel()
		if code := l.wait(t); code != exitOK {
			t.Errorf("listener %d exits with %d: %s", i, code, l.stderr)
		}
	}
	// All events were acknowledged, so the client receives only later ones.
	last := start(t, env, "listen", "--client=c", "--json", "--count=1")
	if code := emit(events).wait(t); code != exitOK || last.wait(t) != exitOK || !strings.Contains(last.stdout.String(), fmt.Sprintf(`"data":%d,`, events)) {
		t.Errorf("after the last acknowledgement listen printed %s%s", last.stdout, last.stderr)
	}
	if code := c.end(t, syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, c.stderr)
	}
}

// TestPostgresDies: the private Postgres is started again, and an open stream stays open.
func TestPostgresDies(t *testing.T) {
	data := dataFolder(t)
	s := serve(t, data)
	env := s.of(data)
	l := start(t, env, "listen", "--rooms=*", "--from-earliest")
	must(t, "", env, "emit", "--event=first")
	l.stdout.await(t, "first")
	raw, err := os.ReadFile(filepath.Join(data, config.PostgresDir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.SplitN(string(raw), "\n", 2)[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	s.stderr.await(t, "the private Postgres runs again")
	must(t, "", env, "emit", "--event=second")
	l.stdout.await(t, "second")
	if text := l.stderr.String(); text != "" {
		t.Errorf("the listener noticed: %s", text)
	}
}
