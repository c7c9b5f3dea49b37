package reach

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// visitor sends the requests of the JavaScript client, one at a time, through a
// meter: the same queries, bodies and headers, those that Node's fetch adds as well.
type visitor struct {
	t       *testing.T
	meter   *meter
	http    *http.Client
	base    string
	headers http.Header
}

func newVisitor(t *testing.T, s *scene, id string) *visitor {
	address, meter := s.metered(t)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	v := &visitor{t: t, meter: meter, http: &http.Client{Transport: transport}, base: "http://" + address + "/v1/default", headers: http.Header{}}
	for name, value := range map[string]string{
		"Authorization": "Bearer " + token(t, id), "Accept": "*/*", "Accept-Encoding": "gzip, deflate", "Accept-Language": "*",
		"Cache-Control": "no-cache", "Connection": "keep-alive", "Pragma": "no-cache", "Sec-Fetch-Mode": "cors", "User-Agent": "node",
	} {
		v.headers.Set(name, value)
	}
	return v
}

func (v *visitor) ask(method, path, body string, more map[string]string) *http.Response {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.base+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header = v.headers.Clone()
	for name, value := range more {
		r.Header.Set(name, value)
	}
	answer, err := v.http.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	if answer.StatusCode >= 300 {
		text, _ := io.ReadAll(answer.Body)
		v.t.Fatalf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	return answer
}

// post sends JSON and returns the cursor of the answer.
func (v *visitor) post(path, body string) string {
	v.t.Helper()
	return v.read(v.ask(http.MethodPost, path, body, map[string]string{"Content-Type": "application/json"})).Cursor
}

// sheet is a page of events; for the answer to an emit only Cursor is set.
type sheet struct {
	Events []json.RawMessage
	Cursor string
	More   bool
}

func (v *visitor) read(answer *http.Response) (s sheet) {
	v.t.Helper()
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		v.t.Fatalf("%v in %q", err, text)
	}
	return s
}

// poll asks for the events after a cursor, and acknowledges those before it.
func (v *visitor) poll(after string, wait int) sheet {
	v.t.Helper()
	path := fmt.Sprintf("/events?wait=%d&ack=auto%s", wait, again(after))
	return v.read(v.ask(http.MethodGet, path, "", map[string]string{"Accept": "application/json", "Last-Event-ID": after}))
}

// again returns the position in the query, which the client also sends in a header, and a nonce.
func again(after string) string {
	return fmt.Sprintf("&after=%s&_=%v", url.QueryEscape(after), rand.Float64())
}

// stream opens a stream and reads hello.
func (v *visitor) stream(after string) *frames {
	v.t.Helper()
	ctx, cancel := context.WithCancel(v.t.Context())
	headers := map[string]string{"Accept": "text/event-stream", "Last-Event-ID": after}
	answer := v.ask(http.MethodGet, "/events?ack=auto"+again(after), "", headers)
	stop := context.AfterFunc(ctx, func() { _ = answer.Body.Close() })
	v.t.Cleanup(func() { cancel(); stop() })
	lines := bufio.NewReader(answer.Body)
	f := &frames{t: v.t, lines: lines, close: cancel}
	f.expect("culvert:hello")
	return f
}

// frames reads the frames of a stream.
type frames struct {
	t     *testing.T
	lines *bufio.Reader
	close func()
}

// expect reads a frame of that name, and skips heartbeats before it.
func (f *frames) expect(name string) {
	f.t.Helper()
	late := time.AfterFunc(20*time.Second, f.close)
	defer late.Stop()
	var frame strings.Builder
	for {
		line, err := f.lines.ReadString('\n')
		if err != nil {
			f.t.Fatalf("%v instead of %s", err, name)
		}
		if frame.WriteString(line); line != "\n" {
			continue
		}
		switch said := frame.String(); {
		case strings.Contains(said, "event: "+name+"\n"):
			return
		case !strings.Contains(said, "event: culvert:heartbeat\n"):
			f.t.Fatalf("%q instead of %s", said, name)
		}
		frame.Reset()
	}
}
