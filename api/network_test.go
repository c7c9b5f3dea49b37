package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertmq/culvert/api/internal/apitest"
)

// TestHTTP10 speaks HTTP/1.0 as old proxies do: no chunks, and the body ends with the connection.
func TestHTTP10(t *testing.T) {
	s := newSite(t)
	dial := func(accept string) (net.Conn, *http.Response, *bufio.Reader) {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET /v1/default/events?client=c&wait=0 HTTP/1.0\r\nAuthorization: Bearer %s\r\nAccept: %s\r\n\r\n", testKey, accept)
		r := bufio.NewReader(c)
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c, res, r
	}
	_, res, _ := dial("*/*")
	if b, err := io.ReadAll(res.Body); err != nil || !strings.HasPrefix(string(b), `{"events":[]`) {
		t.Errorf("poll: %q %v", b, err)
	}
	_, res, _ = dial(sseType)
	if len(res.TransferEncoding) != 0 {
		t.Errorf("transfer encoding %v", res.TransferEncoding)
	}
	p := apitest.NewParser(res.Body)
	if f, err := p.Next(); err != nil || f.Event != "culvert:hello" {
		t.Fatalf("%+v %v", f, err)
	}
	s.emit("*", "1")
	if f, err := p.Next(); err != nil || f.Event != "e" {
		t.Fatalf("%+v %v", f, err)
	}
	s.h.Drain()
	if f, err := p.Next(); err != nil || f.Event != "culvert:reconnect" {
		t.Fatalf("%+v %v", f, err)
	}
	if f, err := p.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %+v %v", f, err)
	}
}

// TestHTTP2WithoutTLS holds a stream that is quiet for longer than the deadline of a write, and emits on the
// same connection.
func TestHTTP2WithoutTLS(t *testing.T) {
	s := newSite(t, func(o *Options) { o.WriteTimeout = 50 * time.Millisecond })
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: p}
	s.client = &http.Client{Transport: transport}
	st := s.stream("/v1/default/events?client=c")
	if st.res.ProtoMajor != 2 {
		t.Fatal(st.res.Proto)
	}
	st.expect("culvert:hello")
	s.get("/v1/default/events?client=d&wait=0.2").is(200)
	s.emit("*", "1")
	if f := st.expect("e"); payload(t, f) != "1" {
		t.Errorf("frame %+v", f)
	}
}

// TestMounted puts the handler under a prefix of another application's server.
func TestMounted(t *testing.T) {
	s := newSite(t)
	mux := http.NewServeMux()
	mux.Handle("/culvert/", http.StripPrefix("/culvert", s.h))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	server := httptest.NewServer(mux)
	defer server.Close()
	s.emit("octo/re po%", "1")
	r := s.request(t.Context(), "GET", "", "")
	r.URL.Host = strings.TrimPrefix(server.URL, "http://")
	r.URL.Path, r.URL.RawPath = "/culvert/v1/default/rooms/octo/re po%/events", "/culvert/v1/default/rooms/octo%2Fre%20po%25/events"
	res, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if res.StatusCode != 200 || !bytes.Contains(b, []byte(`"data":1`)) {
		t.Errorf("%d %s", res.StatusCode, b)
	}
}

func TestABodyThatStopsArriving(t *testing.T) {
	for _, authorization := range []string{"Bearer " + testKey, "Bearer wrong"} {
		synctest.Test(t, func(t *testing.T) {
			h, err := newHandler(inMemory(&memory{}), Options{APIKeys: []string{testKey}})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			w := &duplex{recorder: recorder{header: http.Header{}}, rest: `{"event":`}
			r, _ := http.NewRequestWithContext(t.Context(), "POST", "/v1/default/emit", w)
			r.ContentLength = 1000
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", authorization)
			start := time.Now()
			h.ServeHTTP(w, r)
			if authorization == "Bearer wrong" {
				if w.readTill.IsZero() {
					t.Error("net/http would read the rest of the body for ever")
				}
				return
			}
			if took := time.Since(start); w.status != http.StatusRequestTimeout || took > bodyTimeout+time.Second || w.header.Get("Connection") != "close" {
				t.Errorf("%d after %v", w.status, took)
			}
		})
	}
}

// TestHalfAnAnswerIsNoAnswer: a panic during a stream closes the connection, so that the answer does not look
// complete.
func TestHalfAnAnswerIsNoAnswer(t *testing.T) {
	m := &memory{}
	s := siteOf(t, inMemory(m))
	st := s.stream("/v1/default/events?client=c")
	st.expect("culvert:hello")
	m.set(func() { m.events = append(m.events, nil) })
	if f, err := st.parser.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%+v %v", f, err)
	}
	m.set(func() { m.events = nil })
}

// TestALostClientIsNoError: a client that leaves before its answer is not an error.
func TestALostClientIsNoError(t *testing.T) {
	var log bytes.Buffer
	m := &memory{appendErr: context.Canceled}
	h, err := newHandler(inMemory(m), Options{APIKeys: []string{testKey}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "POST", "/v1/default/emit", strings.NewReader(`{"event":"e"}`))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+testKey)
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // net/http compares it with ==, too
				t.Errorf("the handler ended with %v, so the answer looks like a whole 200", p)
			}
		}()
		h.ServeHTTP(httptest.NewRecorder(), r)
	}()
	if log.Len() != 0 {
		t.Errorf("logged %s", log.String())
	}
}
