package cmd

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// testAck: a client continues after the events that it acknowledged, and receives again those that it did not.
func testAck(t *testing.T, env []string, transport string) {
	client := "acker" + transport
	emit := func(n int) {
		must(t, "", env, "emit", "--room=@"+client, "--event=n", fmt.Sprint(n))
	}
	listen := func(args ...string) string {
		out := must(t, "", env, append([]string{"listen", "--json", transport, "--client", client}, args...)...)
		var data []string
		for line := range strings.Lines(out) {
			var e printedEvent
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			data = append(data, string(e.Data))
		}
		return strings.Join(data, " ")
	}
	for n := range 4 {
		emit(n)
	}
	// The other events of this server are for everyone; so follow only the client's own room.
	first := must(t, "", env, "listen", "--json", "--rooms=@"+client, "--from-earliest", "--count=1")
	var e printedEvent
	if err := json.Unmarshal([]byte(first), &e); err != nil {
		t.Fatal(err)
	}
	cursor := must(t, "", env, "emit", "--room=@"+client, "--event=n", "4")
	log, _, _ := strings.Cut(cursor[strings.Index(cursor, `"cursor":"`)+10:], ":")
	after := fmt.Sprintf("--after=%s:%d", log, e.Offset)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{after, "--count=2", "--ack"}, "1 2"},
		{[]string{"--count=1"}, "3"},
		{[]string{"--count=1", "--ack"}, "3"},
		{[]string{"--count=1", "--ack"}, "4"},
	} {
		if got := listen(c.args...); got != c.want {
			t.Errorf("listen %q prints %s, want %s", c.args, got, c.want)
		}
	}
}

// testOtherLog: a cursor of another log gives a gap, which is reported on standard error.
func testOtherLog(t *testing.T, env []string, transport string) {
	code, stdout, stderr := run(t, "", env, "listen", "--rooms=one", "--after=zzzzzzzz:1", "--count=1", transport)
	if code != exitOK || !strings.Contains(stderr, "gap: ") || !strings.Contains(stderr, "another log") || !strings.Contains(stdout, "greeting") {
		t.Errorf("exit code %d, printed %s\nand said %s", code, stdout, stderr)
	}
}
