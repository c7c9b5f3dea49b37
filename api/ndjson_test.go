package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// upload sends lines all at once and returns the result lines.
func (s *site) upload(body string, options ...option) []string {
	s.t.Helper()
	options = append([]option{header("Content-Type", wire.MediaLines)}, options...)
	r := s.post("/v1/default/emit", body, options...).is(200)
	if got := r.header.Get("Content-Type"); got != wire.MediaLines {
		s.t.Errorf("content type %q", got)
	}
	if r.body == "" {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(r.body, "\n"), "\n")
	checkLines(s.t, lines)
	return lines
}

func TestUpload(t *testing.T) {
	s := newSite(t)
	results := s.upload(strings.Join([]string{
		`{"event":"e","room":"r","data":1}`,
		``,
		"  \t\r",
		`{"event":"e","room":"r","data":2,"key":"k"}` + "\r",
		`{"event":"e","room":"r","data":2,"key":"k"}`,
		`{"event":"e","room":"r","data":3,"key":"k"}`,
		`{"event":""}`,
		`nonsense`,
		`{"event":"e","rooom":"r"}`,
		`{"event":"e","room":"r","data":"` + strings.Repeat("x", 400<<10) + `"}`,
		`{"event":"e","room":"r","data":"` + strings.Repeat("x", 257<<10) + `"}`,
		"{\"event\":\"\xff\"}",
		`{"events":[{"event":"e"}]}`,
		`{"event":"e","room":"r","data":4}`, // without a newline
	}, "\n"))
	var got []string
	for _, line := range results {
		v := decode(t, line)
		switch {
		case v["type"] != nil:
			got = append(got, fmt.Sprintf("%v %v %v", v["line"], strings.TrimPrefix(v["type"].(string), "/problems/"), v["field"]))
		case v["duplicate"] == true:
			got = append(got, "duplicate")
		default:
			got = append(got, "ok")
		}
	}
	want := []string{
		"ok", "ok", "duplicate", "6 key-reused key", "7 invalid event", "8 malformed <nil>", "9 malformed rooom",
		"10 too-large <nil>", "11 too-large data", "12 invalid <nil>", "13 malformed events", "ok",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if p := s.get("/v1/default/rooms/r/events").page(); !slices.Equal(p.data(), []string{"1", "2", "4"}) {
		t.Errorf("the room has %v", p.data())
	}
	if got := s.upload("\n\n"); got != nil {
		t.Errorf("blank lines gave %v", got)
	}
}

// TestUploadIsAConversation sends a line, waits for its result, sends the next.
func TestUploadIsAConversation(t *testing.T) {
	s := newSite(t)
	for _, proto := range []int{1, 2} {
		t.Run(fmt.Sprint("HTTP/", proto), func(t *testing.T) {
			client := s.client
			if proto == 2 {
				p := new(http.Protocols)
				p.SetUnencryptedHTTP2(true)
				transport := &http.Transport{Protocols: p}
				client = &http.Client{Transport: transport}
				defer transport.CloseIdleConnections()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			body, send := io.Pipe()
			r := s.request(ctx, "POST", "/v1/default/emit", "", header("Content-Type", wire.MediaLines))
			r.Body, r.ContentLength = body, -1
			go func() { _, _ = io.WriteString(send, "{\"event\":\"e\",\"room\":\"r\"}\n") }()
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.ProtoMajor != proto {
				t.Fatalf("protocol %s", res.Proto)
			}
			results := bufio.NewScanner(res.Body)
			for i := range 10 {
				if !results.Scan() || !strings.HasPrefix(results.Text(), `{"offset":`) {
					t.Fatalf("result %d: %q %v", i, results.Text(), results.Err())
				}
				if _, err := io.WriteString(send, "{\"event\":\"e\",\"room\":\"r\"}\n"); err != nil {
					t.Fatal(err)
				}
			}
			send.Close()
			if !results.Scan() || results.Scan() || results.Err() != nil {
				t.Errorf("after the last line the answer has %q, %v", results.Text(), results.Err())
			}
		})
	}
}

func TestUploadOfManyLines(t *testing.T) {
	s := newSite(t)
	const n = 20_000
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"event":"e","room":"r","data":%d}`+"\n", i)
	}
	results := s.upload(b.String())
	last := int64(0)
	for i, line := range results {
		offset, err := decode(t, line)["offset"].(interface{ Int64() (int64, error) }).Int64()
		if err != nil || offset <= last {
			t.Fatalf("result %d: %s after %d", i, line, last)
		}
		last = offset
	}
	if len(results) != n {
		t.Fatalf("%d results", len(results))
	}
	if p := s.get("/v1/default/rooms/r/events?limit=1000").page(); string(p.Events[999].Data) != "999" {
		t.Errorf("the order was not kept: %v", p.Events[999])
	}
}

func TestUploadEndsWhereStoringDoes(t *testing.T) {
	for err, slug := range map[error]string{
		event.ErrUnavailable: "unavailable", event.ErrClosed: "draining", event.ErrOverloaded: "overloaded", errors.New("secret"): "internal",
	} {
		m := &memory{appendErr: err}
		s := siteOf(t, inMemory(m))
		lines := "{\"event\":\"e\"}\n{\"event\":\"e\"}\n" + strings.Repeat("{\"event\":\"e\"}\n", 100_000)
		results := s.upload(lines)
		if len(results) != 1 { // such a line ends the answer
			t.Fatalf("%s: %d results", slug, len(results))
		}
		if v := decode(t, results[0]); v["type"] != "/problems/"+slug || fmt.Sprint(v["line"]) != "1" || strings.Contains(results[0], "secret") {
			t.Fatalf("result %s, want %s", results[0], slug)
		}
	}
}

// duplex is a recorder with a request body, in faked time.
type duplex struct {
	recorder
	in       chan string
	rest     string
	readTill time.Time
}

func (d *duplex) EnableFullDuplex() error { return nil }

func (d *duplex) SetReadDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.readTill = t
	return nil
}

func (d *duplex) Close() error { return nil }

// Read checks the deadline every second, since it may be moved meanwhile.
func (d *duplex) Read(b []byte) (int, error) {
	for d.rest == "" {
		d.mu.Lock()
		left := time.Until(d.readTill)
		if d.readTill.IsZero() {
			left = time.Second
		}
		d.mu.Unlock()
		if left <= 0 {
			return 0, timeoutError{}
		}
		select {
		case d.rest = <-d.in:
		case <-time.After(min(left, time.Second)):
		}
	}
	n := copy(b, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

func TestStalledUploadEnds(t *testing.T) {
	for _, c := range []struct {
		name, want string
		prepare    func(h *Handler)
		after      time.Duration
		expires    time.Duration
	}{
		{"stall", `"request-timeout","line":3`, nil, uploadStall, time.Hour},
		{"drain", `"draining","line":3`, func(h *Handler) { h.Drain() }, 2 * time.Second, time.Hour},
		{"expiry", `"unauthorized","line":3`, nil, 20 * time.Second, 20 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, err := newHandler(inMemory(&memory{}), Options{JWTSecret: testSecret})
				if err != nil {
					t.Fatal(err)
				}
				defer h.Close()
				w := &duplex{recorder: recorder{header: http.Header{}}, in: make(chan string)}
				r, _ := http.NewRequestWithContext(t.Context(), "POST", "/v1/default/emit", w)
				r.Header.Set("Content-Type", wire.MediaLines)
				r.Header.Set("Authorization", "Bearer "+tokenUntil(t, "c", time.Now().Add(c.expires), "emit:*"))
				r.ContentLength = -1
				done := make(chan struct{})
				start := time.Now()
				go func() {
					defer close(done)
					h.ServeHTTP(w, r)
				}()
				w.in <- "{\"event\":\"e\"}\n{\"event\":\"e\"}\n{\"event\":"
				if c.prepare != nil {
					c.prepare(h)
				}
				<-done
				if took := time.Since(start); took > c.after+time.Second {
					t.Errorf("ended after %v", took)
				}
				lines := strings.Split(strings.TrimSpace(w.body.String()), "\n")
				if len(lines) != 3 {
					t.Fatalf("results %q", lines)
				}
				v := decode(t, lines[2])
				if got := fmt.Sprintf(`"%s","line":%v`, strings.TrimPrefix(v["type"].(string), "/problems/"), v["line"]); got != c.want {
					t.Errorf("last line %s, want %s", lines[2], c.want)
				}
			})
		})
	}
}

// timeoutError is what a connection returns when its deadline has passed.
type timeoutError struct{}

func (timeoutError) Error() string { return "i/o timeout" }

func (timeoutError) Is(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// TestABrokenUploadsLastPieceIsNoLine: the last piece from a broken connection may be half a line, even half a
// number.
func TestABrokenUploadsLastPieceIsNoLine(t *testing.T) {
	l := newLines(io.MultiReader(strings.NewReader("{\"a\":1}\n{\"b\":12"), brokenReader{}))
	if next, err := l.next(); err != nil || string(next.text) != "{\"a\":1}\n" {
		t.Fatalf("%+v %v", next, err)
	}
	if next, err := l.next(); err == nil {
		t.Errorf("%q is returned as a line", next.text)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestUploadMemoryIsBounded(t *testing.T) {
	l := newLines(io.MultiReader(io.LimitReader(endless{}, 64<<20), strings.NewReader("\n{}\n")))
	if next, err := l.next(); err != nil || !errors.Is(next.err, errLineTooLarge) || next.number != 1 {
		t.Fatalf("%+v %v", next, err)
	}
	if cap(l.buf) > 2*maxLine {
		t.Errorf("the buffer grew to %d", cap(l.buf))
	}
	if next, err := l.next(); err != nil || string(next.text) != "{}\n" || next.number != 2 {
		t.Errorf("%+v %v", next, err)
	}
	g := newLineBuffer()
	for range bufferLines {
		g.put(line{text: []byte("{}")})
	}
	blocked := make(chan bool)
	go func() { blocked <- g.put(line{text: []byte("{}")}) }()
	g.stop()
	if <-blocked {
		t.Error("a full line buffer takes more")
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}
