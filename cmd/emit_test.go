package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/culvertmq/culvert/internal/tool"
)

func testEmitOne(t *testing.T, env []string) {
	first := must(t, "", env, "emit", "--room=one", "--event=greeting", "--key=k1", `{"text":"hi"}`)
	again := must(t, "", env, "emit", "--room=one", "--event=greeting", "--key=k1", `{"text":"hi"}`)
	if !strings.Contains(again, `"duplicate":true`) || strings.Contains(first, "duplicate") {
		t.Errorf("two emits with one key printed: %s%s", first, again)
	}
	must(t, "", env, "emit", "--room=one", "--room=two", "--except=@bob", "--event=note", "--text", `say "hi"`, "--client=alice")
	must(t, "[1]", env, "emit", "--room=one", "--event=piped", "-")
	out := must(t, "", env, "listen", "--rooms=one", "--from-earliest", "--count=3")
	want := regexp.MustCompile(`^\S+ \d+ one greeting - \{"text":"hi"\}
\S+ \d+ one note alice "say \\"hi\\""
\S+ \d+ one piped - \[1\]
$`)
	if !want.MatchString(out) {
		t.Errorf("listen prints\n%s", out)
	}
	for _, args := range [][]string{
		{"--event=x", "{"}, {"{}"}, {"--event=x", "--file=y"}, {"--room=x"}, {"--event=x", "1", "2"}, {"--event=x", "--url=ftp://h"},
	} {
		if code, _, stderr := run(t, "", env, append([]string{"emit"}, args...)...); code != exitUsage || !strings.Contains(stderr, "culvert emit --help") {
			t.Errorf("emit %q exits with %d: %s", args, code, stderr)
		}
	}
	code, _, stderr := run(t, "", env, "emit", "--event=culvert:x")
	if code != exitFailure || !strings.Contains(stderr, "422") || !strings.Contains(stderr, "reserved") {
		t.Errorf("a reserved name: %d, %s", code, stderr)
	}
}

// testEmitLines: good lines are stored even if others are bad, and the numbers of the bad ones are printed.
func testEmitLines(t *testing.T, env []string) {
	var in strings.Builder
	for i := range 1200 {
		fmt.Fprintf(&in, `{"room":"lines","event":"n","data":%d}`+"\n", i)
		switch i {
		case 3:
			in.WriteString("nonsense\n") // line 5
		case 700:
			in.WriteString(`{"room":"lines","event":"culvert:x"}` + "\n") // line 703
		}
	}
	code, _, stderr := run(t, in.String(), env, "emit")
	for _, want := range []string{"line 5: is not a JSON object", "line 703: ", "1200 events in ", " events/s, 2 lines failed"} {
		if code != exitFailure || !strings.Contains(stderr, want) {
			t.Errorf("exit code %d, no %q in: %s", code, want, stderr)
		}
	}
	for i, line := range strings.Split(strings.TrimSpace(must(t, "", env, "listen", "--rooms=lines", "--from-earliest", "--json", "--count=1200")), "\n") {
		var e printedEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil || string(e.Data) != fmt.Sprint(i) {
			t.Fatalf("event %d is %s", i, line)
		}
	}
}

// testTrickle: lines are sent as they arrive, in many requests on one connection, and none is sent twice.
func testTrickle(t *testing.T, env []string) {
	const lines = 300
	in := iotest.OneByteReader(strings.NewReader(strings.Repeat(`{"room":"trickle","event":"n"}`+"\n", lines)))
	var stderr bytes.Buffer
	code := Run(t.Context(), []string{"emit"}, env, in, io.Discard, &stderr)
	if text := stderr.String(); code != exitOK || strings.Count(text, "\n") != 1 || !strings.Contains(text, "300 events in ") || strings.Contains(text, "before") {
		t.Errorf("exit code %d: %s", code, text)
	}
}

// testWebhooks sends real payloads and receives them over both transports.
func testWebhooks(t *testing.T, env []string) {
	const file = "../../shared/data/github-webhooks.jsonl"
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		tool.Missing(t, "../shared/data/github-webhooks.jsonl")
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	before := must(t, "", env, "emit", "--event=before")
	must(t, "", env, "emit", "--file", file)
	var answer struct {
		Cursor string `json:"cursor"`
	}
	if err := json.Unmarshal([]byte(before), &answer); err != nil {
		t.Fatal(err)
	}
	rooms := map[string]bool{}
	for _, line := range lines {
		var e printedEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		rooms[e.Room] = true
	}
	listen := []string{"listen", "--json", "--count", fmt.Sprint(len(lines)), "--after", answer.Cursor}
	for room := range rooms {
		listen = append(listen, "--rooms", `"`+room+`"`)
	}
	for _, transport := range []string{"--poll=false", "--poll"} {
		got := strings.Split(strings.TrimSpace(must(t, "", env, append(listen, transport)...)), "\n")
		for i, line := range got {
			var sent, received printedEvent
			if json.Unmarshal([]byte(lines[i]), &sent) != nil || json.Unmarshal([]byte(line), &received) != nil ||
				sent.Room != received.Room || sent.Event != received.Event || !sameJSON(t, sent.Data, received.Data) {
				t.Fatalf("event %d came as %.200s, was %.200s", i, line, lines[i])
			}
		}
	}
}

func sameJSON(t *testing.T, a, b json.RawMessage) bool {
	t.Helper()
	var canonical [2]string
	for i, raw := range []json.RawMessage{a, b} {
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		canonical[i] = string(out)
	}
	return canonical[0] == canonical[1]
}
