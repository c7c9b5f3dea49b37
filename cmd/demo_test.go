package cmd

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/culvertmq/culvert/internal/tool"
)

// skipped matches the output of Node.js when tests did not run.
var skipped = regexp.MustCompile(`skipped [1-9]`)

// TestDemo uses the chat on a new machine, and tries what its visitors must not do.
func TestDemo(t *testing.T) {
	s := serve(t, dataFolder(t), "--demo")
	s.stderr.await(t, `the chat is at http://`)
	t.Run("token", func(t *testing.T) { testDemoToken(t, s) })
	t.Run("requests", func(t *testing.T) { testDemoRequests(t, s) })
	t.Run("page", func(t *testing.T) { testDemoPage(t, s) })
	t.Run("paths", func(t *testing.T) { testDemoPaths(t, s) })
	t.Run("chat", func(t *testing.T) { testDemoChat(t, s) })
}

// testDemoChat runs the page in browsers.
func testDemoChat(t *testing.T, s *program) {
	tool.Path(t, "node")
	web, err := filepath.Abs("../web")
	if err != nil {
		t.Fatal(err)
	}
	node := func(t *testing.T, program string, args ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), program, args...)
		c.Dir = web
		c.Env = append(os.Environ(), "CULVERT_DEMO_URL="+s.url+"/demo/")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", program, args, err, out)
		}
		return string(out)
	}
	node(t, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	t.Run("assets are built from the sources", func(t *testing.T) { node(t, "npm", "run", "check") })
	// "limit" comes last, since it uses up all tokens.
	for _, name := range []string{"chromium", "firefox", "limit"} {
		t.Run(name, func(t *testing.T) {
			if out := node(t, "node", "--test", "e2e/"+name+".test.mjs"); skipped.MatchString(out) {
				t.Skip(out)
			}
		})
	}
}

// ask sends a request and returns the status and the body.
func ask(t *testing.T, method, url, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for pair := range slices.Chunk(header, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(b)
}

// testDemoToken: a visitor's token opens the rooms of the chat and nothing else.
func testDemoToken(t *testing.T, s *program) {
	status, header, body := ask(t, "POST", s.url+"/demo/token", `{"name":"Zoë X","secret":"abcdefghijklmnopqrst1"}`)
	var got struct{ Token, Client string }
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 || got.Client != "Zoë X#938795c756d6f807" || header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s", status, body)
	}
	// The client's name, which everybody sees, must not be enough to get its token.
	_, shown, _ := strings.Cut(got.Client, "#")
	for _, secret := range []string{shown, shown + shown} {
		var other struct{ Client string }
		_, _, body := ask(t, "POST", s.url+"/demo/token", `{"name":"Zoë X","secret":"`+secret+`"}`)
		if err := json.Unmarshal([]byte(body), &other); err != nil || other.Client == got.Client {
			t.Errorf("%s: %s", secret, body)
		}
	}
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/v1/demo/emit", `{"room":"chat-lobby","event":"message"}`, 201},
		{"POST", "/v1/demo/emit", `{"room":"lobby","event":"message"}`, 403},
		{"POST", "/v1/demo/emit", `{"room":"@Ann#938795c756d6f807","event":"message"}`, 403},
		{"POST", "/v1/demo/emit", `{"event":"message"}`, 403},
		{"PUT", "/v1/demo/rooms/chat-lobby/clients/me", "", 200},
		{"PUT", "/v1/demo/rooms/lobby/clients/me", "", 403},
		{"GET", "/v1/demo/rooms/*/clients", "", 403},
		{"GET", "/v1/demo/rooms", "", 403},
		{"DELETE", "/v1/demo", "", 404},
		{"POST", "/v1/default/emit", `{"room":"chat-lobby","event":"message"}`, 404},
	} {
		if status, _, body := ask(t, c.method, s.url+c.path, c.body, "Authorization", "Bearer "+got.Token); status != c.want {
			t.Errorf("%s %s %s: %d %s, want %d", c.method, c.path, c.body, status, body, c.want)
		}
	}
}

func testDemoRequests(t *testing.T, s *program) {
	const good = `{"name":"Ann","secret":"abcdefghijklmnopqrst1"}`
	for _, c := range []struct {
		body   string
		header []string
		want   int
	}{
		{`{"name":"Ann","secret":"abcdefghijklmnopqrst1","ttl":1}`, nil, 200},
		{`{"name":"","secret":"abcdefghijklmnopqrst1"}`, nil, 422},
		{`{"name":" Ann","secret":"abcdefghijklmnopqrst1"}`, nil, 422},
		{`{"name":"@Ann","secret":"abcdefghijklmnopqrst1"}`, nil, 422},
		{`{"name":"Ann#bob","secret":"abcdefghijklmnopqrst1"}`, nil, 422},
		{`{"name":"A\u200bnn","secret":"abcdefghijklmnopqrst1"}`, nil, 422},
		{`{"name":"` + strings.Repeat("ü", 25) + `","secret":"abcdefghijklmnopqrst1"}`, nil, 422},
		{`{"name":"Ann","secret":"abcdefghijklmnopqrs"}`, nil, 422},
		{`{"name":"Ann","secret":"abcdefghijklmnopqrst1","ttl":-1}`, nil, 422},
		{`{"name":"` + strings.Repeat("a", 2000) + `"}`, nil, 400},
		{`[]`, nil, 400},
		{`{"NAME":"Ann","secret":"abcdefghijklmnopqrst1"}`, nil, 400},
		{`{"name":"Ann","device":"938795c756d6f807"}`, nil, 400},
		{`{"name":"Ann","secret":"938795c756d6f807"}`, nil, 422}, // the secret is the part of Ann's name that everybody sees
		{good, []string{"Content-Type", "text/plain"}, 415},
		{good, []string{"Sec-Fetch-Site", "cross-site", "Origin", "http://elsewhere.example"}, 403},
	} {
		status, header, body := ask(t, "POST", s.url+"/demo/token", c.body, c.header...)
		if status != c.want || status != 200 && header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %q: %d %v %s, want %d", c.body, c.header, status, header, body, c.want)
		}
	}
}

// testDemoPaths: a path that would have to be cleaned is not served as the cleaned one.
func testDemoPaths(t *testing.T, s *program) {
	for _, path := range []string{"/demo/../v1/default/emit", "/demo/%2e%2e/v1/default/emit", "/demo//chat.js", "/demo/./chat.js", "/demo//", "/demo/x/../chat.js"} {
		for _, method := range []string{"GET", "POST"} {
			if status, header, _ := ask(t, method, s.url+path, ""); status != 404 || header.Get("Location") != "" {
				t.Errorf("%s %s: %d to %q", method, path, status, header.Get("Location"))
			}
		}
	}
	if status, header, _ := ask(t, "GET", s.url+"/demo", ""); status != 307 || header.Get("Location") != "/demo/" {
		t.Errorf("/demo: %d to %q", status, header.Get("Location"))
	}
}

// testDemoPage: everything is served from this server, nothing is inline, and assets are cached by their
// content.
func testDemoPage(t *testing.T, s *program) {
	for path, media := range map[string]string{"": "text/html", "chat.js": "text/javascript", "chat.css": "text/css", "base.css": "text/css", "icon.svg": "image/svg+xml"} {
		status, header, body := ask(t, "GET", s.url+"/demo/"+path, "")
		policy := header.Get("Content-Security-Policy")
		if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), media) || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%q: %d %v", path, status, header)
		}
		if path == "" && (strings.Contains(body, "style=") || strings.Contains(body, "<style") || strings.Contains(body, "<script>") || strings.Contains(body, "onclick")) {
			t.Error("the page has something inline")
		}
		if status, _, _ := ask(t, "GET", s.url+"/demo/"+path, "", "If-None-Match", header.Get("ETag")); status != 304 {
			t.Errorf("%q: %d for what is known", path, status)
		}
	}
	if status, header, _ := ask(t, "GET", s.url+"/demo", ""); status/100 != 3 || header.Get("Location") != "/demo/" {
		t.Errorf("/demo: %d %v", status, header)
	}
	if status, _, _ := ask(t, "GET", s.url+"/demo/nothing", ""); status != 404 {
		t.Errorf("an unknown path is answered with %d", status)
	}
}

// TestNoDemo: without --demo nobody gets a token, and --demo needs a secret to sign with.
func TestNoDemo(t *testing.T) {
	data := dataFolder(t)
	s := serve(t, data)
	for _, path := range []string{"/demo/", "/demo/token", "/demo/chat.js"} {
		if status, _, _ := ask(t, "POST", s.url+path, `{"name":"Ann","secret":"abcdefghijklmnopqrst1"}`); status != 404 {
			t.Errorf("%s: %d", path, status)
		}
	}
	s.cancel()
	s.wait(t)
	for flag, want := range map[string]string{"--api-keys=the-key-of-the-demo": "--jwt-secret", "--jwt-algorithms=HS512": "HS256"} {
		args := serveArgs(data, "--demo", flag)
		if strings.Contains(flag, "algorithms") {
			args = append(args, "--jwt-secret=0123456789abcdef0123456789abcdef")
		}
		code, _, stderr := run(t, "", nil, args...)
		last := stderr[max(0, strings.LastIndexByte(strings.TrimSpace(stderr), '\n')):]
		if code != exitFailure || !strings.Contains(last, want) {
			t.Errorf("%s: exit code %d, %s", flag, code, stderr)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:80": true, "[::1]:80": true, "localhost:80": true, "127.3.4.5:80": true,
		":80": false, "0.0.0.0:80": false, "[::]:80": false, "192.168.1.4:80": false, "example.com:80": false,
	} {
		if isLoopback(address) != want {
			t.Errorf("%s", address)
		}
	}
}
