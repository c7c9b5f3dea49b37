package cmd

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const helloFrame = `event: culvert:hello
data: {"client":"c","cursor":"k:0","log":"k","heartbeat":%v,"max_age":60}

`

// frame returns event n as a frame.
func frame(n int) string {
	return fmt.Sprintf("id: k:%d\nevent: e\ndata: %s\n\n", n, eventJSON(n))
}

func eventJSON(n int) string {
	return fmt.Sprintf(`{"offset":%d,"room":"r","event":"e","data":%d,"at":"now"}`, n, n)
}

// streamOf answers with a stream of that text. The stream then stays open or ends.
func streamOf(open bool, text ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, s := range text {
			_, _ = w.Write([]byte(s))
		}
		_ = http.NewResponseController(w).Flush()
		if open {
			<-r.Context().Done()
		}
	}
}

// wants checks after which cursor the request continues, and then answers it with next.
func wants(t *testing.T, cursor string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		got := r.Header.Get("Last-Event-ID") + r.URL.Query().Get("after")
		if got != cursor {
			t.Errorf("%s continues after %q, want %q", r.URL, got, cursor)
		}
		next(w, r)
	}
}

func pageOf(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(text))
	}
}

// TestFollowStream: however a stream ends, the next one continues after the last complete frame.
func TestFollowStream(t *testing.T) {
	hello := fmt.Sprintf(helloFrame, 15)
	const beat = "id: k:7\nevent: culvert:heartbeat\ndata: {}\n\n"
	const gap = "event: culvert:gap\ndata: {\"from\":\"k:7\",\"to\":\"k:9\",\"reason\":\"pruned\"}\n\n"
	const bye = "event: culvert:reconnect\ndata: {\"reason\":\"max_age\",\"after\":0.01}\n\n"
	url := fake(t,
		status(http.StatusServiceUnavailable),
		wants(t, "", streamOf(false, hello, frame(1), frame(2), strings.TrimSuffix(frame(3), "\n"))),
		wants(t, "k:2", streamOf(true, hello, frame(3), frame(4), bye)),
		wants(t, "k:4", streamOf(true, fmt.Sprintf(helloFrame, 0.04), beat)), // and then silence
		wants(t, "k:7", streamOf(false, hello, gap)),
		wants(t, "k:9", streamOf(true, hello, frame(10), frame(11))),
	)
	code, stdout, stderr := run(t, "", nil, "listen", "--url", url, "--token=t", "--json", "--count=5")
	var want strings.Builder
	for _, n := range []int{1, 2, 3, 4, 10} {
		want.WriteString(eventJSON(n) + "\n")
	}
	if code != exitOK || stdout != want.String() {
		t.Errorf("exit code %d, printed\n%swant\n%s", code, stdout, &want)
	}
	for _, said := range []string{"answered 503", "connected again", "the stream went silent", "gap: events after k:7 up to k:9"} {
		if !strings.Contains(stderr, said) {
			t.Errorf("%q was not printed:\n%s", said, stderr)
		}
	}
	if strings.Contains(stderr, "max_age") {
		t.Errorf("an ordinary reconnection was reported:\n%s", stderr)
	}
}

// TestBufferedStream: if nothing arrives through streams, listen continues with long polling.
func TestBufferedStream(t *testing.T) {
	url := fake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") == "text/event-stream" {
			<-r.Context().Done() // like a proxy that waits for the end of the answer
			return
		}
		pageOf(`{"events":[`+eventJSON(1)+`],"cursor":"k:1"}`)(w, r)
	})
	code, stdout, stderr := run(t, "", nil, "listen", "--url", url, "--token=t", "--json", "--count=1")
	if code != exitOK || stdout != eventJSON(1)+"\n" || !strings.Contains(stderr, "continuing with long polling") {
		t.Errorf("exit code %d, printed %s%s", code, stdout, stderr)
	}
}

func TestFollowPages(t *testing.T) {
	url := fake(t,
		wants(t, "", pageOf(`{"events":[`+eventJSON(1)+`,`+eventJSON(2)+`],"cursor":"k:2","more":true}`)),
		wants(t, "k:2", status(http.StatusBadGateway)),
		wants(t, "k:2", pageOf(`{"events":[],"cursor":"k:5","retry":0.01}`)),
		wants(t, "k:5", pageOf(`{"events":[`+eventJSON(8)+`],"cursor":"k:8","gap":{"from":"k:5","to":"k:7","reason":"pruned"}}`)),
	)
	code, stdout, stderr := run(t, "", nil, "listen", "--poll", "--url", url, "--token=t", "--count=3")
	if code != exitOK || stdout != "now 1 r e - 1\nnow 2 r e - 2\nnow 8 r e - 8\n" || !strings.Contains(stderr, "gap: events after k:5 up to k:7") {
		t.Errorf("exit code %d, printed\n%s%s", code, stdout, stderr)
	}
}

// TestFollowEnds: errors that cannot pass end listen with a clear message.
func TestFollowEnds(t *testing.T) {
	html := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>"))
	}
	hello := fmt.Sprintf(helloFrame, 15)
	for name, c := range map[string]struct {
		args    string
		answers []http.HandlerFunc
		want    string
	}{
		"forbidden later": {"", []http.HandlerFunc{streamOf(false, hello), status(http.StatusForbidden)}, "answered 403"},
		"gone":            {"--poll", []http.HandlerFunc{status(http.StatusNotFound)}, "answered 404 Not Found; check --url"},
		"a web page":      {"", []http.HandlerFunc{html}, `the content type is "text/html", not an event stream`},
		"a polled page":   {"--poll", []http.HandlerFunc{html}, "not a page of events"},
		"other JSON":      {"--poll", []http.HandlerFunc{pageOf(`{"ok":true}`)}, "not a page of events"},
		"another stream":  {"", []http.HandlerFunc{streamOf(true, "data: 1\n\n")}, "its first frame is"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"listen", "--token=t", "--url", fake(t, c.answers...)}, strings.Fields(c.args)...)
			code, _, stderr := run(t, "", nil, args...)
			if code != exitFailure || !strings.Contains(stderr, c.want) {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
}

// TestAcks: acknowledgements never go back, the last one is always sent, and listen ends if one is refused.
func TestAcks(t *testing.T) {
	var acked []string
	hello := fmt.Sprintf(helloFrame, 15)
	server := func(ack http.HandlerFunc) string {
		return fake(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				ack(w, r)
				return
			}
			var text strings.Builder
			for n := range 200 {
				text.WriteString(frame(n + 1))
			}
			streamOf(true, hello, text.String())(w, r)
		})
	}
	url := server(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Cursor string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		acked = append(acked, body.Cursor)
		pageOf(`{"cursor":"`+body.Cursor+`"}`)(w, r)
	})
	if code, _, stderr := run(t, "", nil, "listen", "--ack", "--url", url, "--token=t", "--count=200"); code != exitOK || stderr != "" {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	last := 0
	for _, cursor := range acked {
		var n int
		if _, err := fmt.Sscanf(cursor, "k:%d", &n); err != nil || n <= last {
			t.Fatalf("acknowledged %v", acked)
		}
		last = n
	}
	if last != 200 {
		t.Errorf("acknowledged %v", acked)
	}
	code, _, stderr := run(t, "", nil, "listen", "--ack", "--url", server(status(http.StatusForbidden)), "--token=t")
	if code != exitFailure || !strings.Contains(stderr, "acknowledge k:") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
