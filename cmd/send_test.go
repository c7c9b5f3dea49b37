package cmd

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// fake is a server whose answers a test chooses: each request gets the next one; the last one is repeated.
func fake(t *testing.T, answers ...http.HandlerFunc) string {
	t.Helper()
	requests := make(chan http.HandlerFunc, len(answers))
	for _, a := range answers[:len(answers)-1] {
		requests <- a
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case a := <-requests:
			a(w, r)
		default:
			answers[len(answers)-1](w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// status answers with a status and no body.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// store is a log of lines by their keys. It answers NDJSON requests like a server.
type store struct {
	keys  map[string]bool
	order []string
}

// take stores the body's lines and answers the first n of them, then breaks off.
func (s *store) take(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		lines := bufio.NewScanner(r.Body)
		for i := 0; lines.Scan(); i++ {
			key := strings.Split(lines.Text(), `"`)[3] // withKey puts it first
			if !s.keys[key] {
				s.keys[key] = true
				s.order = append(s.order, key[strings.LastIndex(key, "-")+1:])
			}
			if i < n {
				fmt.Fprintln(w, `{"offset":1,"cursor":"k:1"}`)
			}
		}
		if n == 0 {
			panic(http.ErrAbortHandler)
		}
	}
}

// TestSendAgain: lines without an answer are sent again with the same keys, so that each is stored once and in
// order.
func TestSendAgain(t *testing.T) {
	s := &store{keys: map[string]bool{}}
	overload := func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `{"offset":1,"cursor":"k:1"}`)
		fmt.Fprintln(w, `{"type":"/problems/overloaded","title":"Overloaded","status":503}`)
	}
	url := fake(t, status(http.StatusBadGateway), s.take(0), s.take(2), overload, s.take(100))
	in := strings.Repeat(`{"event":"e"}`+"\n", 5)
	code, _, stderr := run(t, in, nil, "emit", "--url", url, "--token=t")
	if code != exitOK || !strings.Contains(stderr, "5 events") || strings.Join(s.order, " ") != "1 2 3 4 5" {
		t.Errorf("exit code %d, stored %v: %s", code, s.order, stderr)
	}
}

// TestSendGivesUp: an error that cannot pass ends the run and names the line. So does an error that lasts
// longer than --retry-for.
func TestSendGivesUp(t *testing.T) {
	expired := func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `{"offset":1,"cursor":"k:1"}`)
		fmt.Fprintln(w, `{"title":"Missing or bad credentials","status":401}`)
	}
	in := strings.Repeat(`{"event":"e"}`+"\n", 3)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"expired":     {expired, "stopped at line 2: the server answered 401"},
		"forbidden":   {status(http.StatusForbidden), "stopped at line 1: the server answered 403"},
		"unavailable": {status(http.StatusServiceUnavailable), "stopped at line 1: gave up after 1ms: the server answered 503"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := run(t, in, nil, "emit", "--url", fake(t, c.answer), "--token=t", "--retry-for=1ms")
			if code != exitFailure || !strings.Contains(stderr, c.want) {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
}

// TestInterrupted: Ctrl-C ends an emit that waits for its input.
func TestInterrupted(t *testing.T) {
	p := start(t, nil, "emit", "--url", fake(t, status(http.StatusServiceUnavailable)), "--token=t", "--event=x")
	p.stderr.await(t, "trying again")
	p.cancel()
	if code := p.wait(t); code != exitFailure {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

func TestBackoff(t *testing.T) {
	b := backoff{base: time.Second, limit: 10 * time.Second}
	for i := range 100 {
		bound := 10 * time.Second
		if i < 4 {
			bound = time.Second << i
		}
		if got := b.next(0); got <= 0 || got > bound {
			t.Fatalf("wait %d is %v, want up to %v", i, got, bound)
		}
	}
	if got := b.next(time.Minute); got != time.Minute {
		t.Errorf("the server asked for a minute, and emit waits %v", got)
	}
}

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"grüße, 世界":           "grüße, 世界",
		"\x1b[2J\x7f":         `\u001b[2J\u007f`,
		"a\u009bb\u202ec":     `a\u009bb\u202ec`,
		"\xff":                "\ufffd",
		"two\nlines\r\u2028x": `two\u000alines\u000d\u2028x`,
	} {
		if got := printable(s); got != want {
			t.Errorf("printable(%q) = %q, want %q", s, got, want)
		}
	}
}
