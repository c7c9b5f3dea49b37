package api

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

const testKey = "the-key-of-backends"

var testSecret = []byte("0123456789abcdef0123456789abcdef")

// site is a server under test. All its answers are checked against openapi.yaml.
type site struct {
	t      testing.TB
	url    string
	h      *Handler
	server *httptest.Server
	client *http.Client
}

// openQueue opens an instance, which is closed with the test.
func openQueue(t testing.TB, dsn string) *queue.Queue {
	t.Helper()
	q, err := queue.Open(t.Context(), queue.Options{
		DatabaseURL: pgtest.ThroughPooler(t, dsn), ListenURL: dsn, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := q.Close(ctx); err != nil {
			t.Error("close:", err)
		}
	})
	return q
}

// newSite serves a real queue on a database of its own.
func newSite(t testing.TB, change ...func(*Options)) *site {
	t.Helper()
	return siteOf(t, ownersOf(openQueue(t, pgtest.Database(t))), change...)
}

// siteOf serves a Handler of these owners.
func siteOf(t testing.TB, of owners, change ...func(*Options)) *site {
	t.Helper()
	o := Options{APIKeys: []string{"another-key-of-backends", testKey}, JWTSecret: testSecret, Logger: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&o)
	}
	h, err := newHandler(of, o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	h.ConfigureServer(server.Config)
	server.Listener = h.Listener(server.Listener)
	server.Start()
	st := &site{t: t, url: server.URL, h: h, server: server, client: server.Client()}
	t.Cleanup(func() {
		h.Drain()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Wait(ctx); err != nil {
			t.Error("wait:", err)
		}
		st.client.CloseIdleConnections()
		server.Close()
		h.Close()
	})
	return st
}

// token signs a token for a client, with rights given as "rooms:…" and "emit:…".
func token(t testing.TB, sub string, rights ...string) string {
	t.Helper()
	return tokenUntil(t, sub, time.Now().Add(time.Hour), rights...)
}

func tokenUntil(t testing.TB, sub string, exp time.Time, rights ...string) string {
	t.Helper()
	c := Claims{RegisteredClaims: jwt.RegisteredClaims{Subject: sub, ExpiresAt: jwt.NewNumericDate(exp)}}
	for _, r := range rights {
		what, pattern, _ := strings.Cut(r, ":")
		switch what {
		case "rooms":
			c.Rooms = append(c.Rooms, pattern)
		case "emit":
			c.Emit = append(c.Emit, pattern)
		case "ns":
			c.Namespaces = append(c.Namespaces, pattern)
		}
	}
	signed, err := SignToken(testSecret, c)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// result is an answer whose body has been read.
type result struct {
	t      testing.TB
	status int
	header http.Header
	body   string
}

// option changes a request.
type option func(*http.Request)

func bearerOf(token string) option {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func header(name, value string) option {
	return func(r *http.Request) {
		if value == "" {
			r.Header.Del(name)
			return
		}
		r.Header.Set(name, value)
	}
}

func (s *site) request(ctx context.Context, method, path, body string, options ...option) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+testKey)
	for _, o := range options {
		o(r)
	}
	return r
}

// call sends one request, as the backend unless an option says otherwise.
func (s *site) call(method, path, body string, options ...option) result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	r := s.request(ctx, method, path, body, options...)
	res, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v after %q", method, path, err, b)
	}
	checkContract(s.t, r, res, b)
	return result{s.t, res.StatusCode, res.Header, string(b)}
}

func (s *site) get(path string, options ...option) result { return s.call("GET", path, "", options...) }

func (s *site) post(path, body string, options ...option) result {
	return s.call("POST", path, body, options...)
}

func (r result) is(status int) result {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	return r
}

// json decodes the body.
func (r result) json() map[string]any {
	r.t.Helper()
	return decode(r.t, r.body)
}

func decode(t testing.TB, text string) map[string]any {
	t.Helper()
	var v map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}

// problem checks status, slug and field of a problem.
func (r result) problem(status int, slug, field string) result {
	r.t.Helper()
	r.is(status)
	if got := r.header.Get("Content-Type"); got != "application/problem+json" {
		r.t.Errorf("content type %q", got)
	}
	p := r.json()
	gotField, _ := p["field"].(string)
	if p["type"] != "/problems/"+slug || gotField != field {
		r.t.Errorf("got %s, want type %s and field %q", r.body, slug, field)
	}
	return r
}

// eventPage is what a long poll or history answers.
type eventPage struct {
	Events []struct {
		Offset int64
		Room   string
		Event  string
		Data   json.RawMessage
		Binary *string
		From   *string
		At     time.Time
	}
	Cursor string
	More   bool
	Gap    *struct{ From, To, Reason string }
	Retry  *float64
}

func (r result) page() eventPage {
	r.t.Helper()
	r.is(http.StatusOK)
	var p eventPage
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		r.t.Fatalf("%v in %q", err, r.body)
	}
	return p
}

// data returns the data of the page's events.
func (p eventPage) data() []string {
	var all []string
	for _, e := range p.Events {
		all = append(all, string(e.Data))
	}
	return all
}

// emit emits to a room, waits until this instance delivers the event, and returns its cursor.
func (s *site) emit(room, data string, options ...option) string {
	s.t.Helper()
	body, err := json.Marshal(map[string]any{"room": room, "event": "e", "data": json.RawMessage(data)})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.settle(s.post("/v1/default/emit", string(body), options...).is(http.StatusCreated))
}

// settle waits until this instance delivers the event of a 201 answer: it is committed slightly earlier.
func (s *site) settle(r result) string {
	s.t.Helper()
	cursor, _ := r.json()["cursor"].(string)
	c, err := event.ParseCursor(cursor)
	if err != nil {
		s.t.Fatalf("%v: %s", err, r.body)
	}
	apitest.Until(s.t, func() bool { return s.delivered().Offset >= c.Offset })
	return cursor
}

// delivered returns the cursor up to which this instance has delivered the log.
func (s *site) delivered() event.Cursor {
	s.t.Helper()
	q, ok := s.h.queue.(interface{ Delivered() event.Cursor })
	if !ok {
		s.t.Fatalf("%T cannot say what it has delivered", s.h.queue)
	}
	return q.Delivered()
}

func (s *site) stream(path string, options ...option) *sseStream {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	r := s.request(ctx, "GET", path, "", append([]option{header("Accept", "text/event-stream")}, options...)...)
	res, err := s.client.Do(r)
	if err != nil {
		cancel()
		s.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		b, _ := io.ReadAll(res.Body)
		s.t.Errorf("the answer is not a stream: %d %s %s", res.StatusCode, res.Header, b)
	}
	st := &sseStream{s.t, res, apitest.NewParser(res.Body), cancel}
	s.t.Cleanup(st.close)
	return st
}

// unknownLength makes a request chunked.
func unknownLength(r *http.Request) {
	r.ContentLength = -1
	r.Body = io.NopCloser(r.Body)
}
