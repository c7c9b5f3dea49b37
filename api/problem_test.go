package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// TestProblems sends one request for every row of the error table, and several where a row has several causes.
func TestProblems(t *testing.T) {
	s := newSite(t)
	alice := bearerOf(token(t, "alice", "rooms:room-*", "emit:room-*"))
	emit, reply := "/v1/default/emit", "/v1/default/reply"
	events := "/v1/default/events?client=c&wait=0"
	plain := header("Content-Type", "text/plain")
	for _, c := range []struct {
		method, path, body string
		status             int
		slug, field        string
		options            []option
	}{
		{"POST", emit, `{"event":"e"`, 400, "malformed", "", nil},
		{"POST", emit, ``, 415, "unsupported-media-type", "", nil},
		{"POST", emit, ` `, 400, "malformed", "", nil},
		{"POST", emit, `{"event":"e"} {}`, 400, "malformed", "", nil},
		{"POST", emit, "\ufeff" + `{"event":"e"}`, 400, "malformed", "", nil},
		{"POST", emit, `{"event":"e","rooom":"x"}`, 400, "malformed", "rooom", nil},
		{"POST", emit, `{"event":"e","Room":"x"}`, 400, "malformed", "Room", nil},
		{"POST", emit, `{"event":"e","event":"f"}`, 400, "malformed", "event", nil},
		{"POST", emit, `{"event":"e","data":{"a":NaN}}`, 400, "malformed", "", nil},
		{"POST", emit, "{\"event\":\"a\tb\"}", 400, "malformed", "", nil},
		{"POST", emit, `{"event":"e","data":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}`, 400, "too-deep", "data", nil},
		{"POST", emit, `{"events":[{"event":"e","events":[]}]}`, 400, "malformed", "events[0].events", nil},
		{"POST", emit + "?client=a&client=b", `{"event":"e"}`, 400, "bad-parameter", "client", nil},
		{"POST", emit + "?a=%zz", `{"event":"e"}`, 400, "bad-parameter", "", nil},
		{"GET", events + "&limit=0", "", 400, "bad-parameter", "limit", nil},
		{"GET", events + "&limit=1001", "", 400, "bad-parameter", "limit", nil},
		{"GET", events + "&limit=ten", "", 400, "bad-parameter", "limit", nil},
		{"GET", events + "&limit=%2B1", "", 400, "bad-parameter", "limit", nil},
		{"GET", "/v1/default/events?client=c&wait=51", "", 400, "bad-parameter", "wait", nil},
		{"GET", "/v1/default/events?client=c&wait=-1", "", 400, "bad-parameter", "wait", nil},
		{"GET", "/v1/default/events?client=c&wait=NaN", "", 400, "bad-parameter", "wait", nil},
		{"GET", "/v1/default/events?client=c&wait=", "", 400, "bad-parameter", "wait", nil},
		{"GET", events + "&after=nonsense", "", 400, "bad-parameter", "after", nil},
		{"GET", events + "&after=", "", 400, "bad-parameter", "after", nil},
		{"GET", events + "&after=a:1&after=a:2", "", 400, "bad-parameter", "after", nil},
		{"GET", events + "&last_event_id=x", "", 400, "bad-parameter", "last_event_id", nil},
		{"GET", events, "", 400, "bad-parameter", "Last-Event-ID", []option{header("Last-Event-ID", "k:01")}},
		{"GET", events + "&from=latest", "", 400, "bad-parameter", "from", nil},
		{"GET", events + "&ack=x", "", 400, "bad-parameter", "ack", nil},
		{"GET", events + "&ack=auto&rooms=a", "", 400, "bad-parameter", "ack", nil},
		{"GET", "/v1/default/events", "", 400, "bad-parameter", "client", nil},
		{"GET", "/v1/default/events?ack=a:1", "", 400, "bad-parameter", "ack", nil},
		{"GET", events + "&rooms=" + strings.Repeat("a,", 100) + "a", "", 400, "bad-parameter", "rooms", nil},
		{"GET", events, "{}", 400, "bad-parameter", "", nil},
		{"POST", "/v1/default/ack", `{"cursor":"a:1"}`, 400, "bad-parameter", "client", nil},
		{"POST", "/v1/default/ack?client=c", `{"cursor":"nonsense"}`, 400, "bad-parameter", "cursor", nil},
		{"POST", "/v1/default/ack?client=c", `{"cursor":"a:1","x":1}`, 400, "malformed", "x", nil},
		{"POST", "/v1/default/ack?client=c", `{"cursor":"a:1","cursor":"a:1"}`, 400, "malformed", "cursor", nil},
		{"GET", "/v1/default/rooms/r/events?after=x", "", 400, "bad-parameter", "after", nil},
		{"GET", "/v1/default/clients/me", "", 400, "bad-parameter", "client", nil},

		{"POST", emit, `{"event":"e"}`, 401, "unauthorized", "", []option{header("Authorization", "")}},
		{"POST", emit + "?access_token=" + testKey, `{"event":"e"}`, 401, "unauthorized", "", []option{bearerOf("wrong")}},
		{"POST", emit, `not even JSON`, 401, "unauthorized", "", []option{bearerOf("wrong"), plain}},
		{"GET", "/v1/Bad_NS/events", "", 401, "unauthorized", "", []option{header("Authorization", "Basic eDp5")}},

		{"POST", emit, `{"event":"e"}`, 403, "forbidden", "room", []option{alice}},
		{"POST", emit, `{"event":"e","room":"other"}`, 403, "forbidden", "room", []option{alice}},
		{"POST", emit, `{"event":"e","rooms":["room-1","other"]}`, 403, "forbidden", "rooms", []option{alice}},
		{"GET", "/v1/default/events?rooms=room-1,other", "", 403, "forbidden", "rooms", []option{alice}},
		{"GET", "/v1/default/rooms/other/events", "", 403, "forbidden", "room", []option{alice}},
		{"GET", "/v1/default/rooms/@bob/events", "", 403, "forbidden", "room", []option{alice}},

		{"GET", "/", "", 404, "not-found", "", nil},
		{"GET", "/v1/default/nothing", "", 404, "not-found", "", nil},
		{"GET", "/v1/default/clients/a/b", "", 404, "not-found", "", nil},
		{"POST", emit + "/", `{"event":"e"}`, 404, "not-found", "", nil},
		{"GET", "/v1/other/events", "", 404, "not-found", "", []option{alice}},
		{"GET", "/v1/Bad_NS/events", "", 404, "not-found", "", []option{alice}},
		{"GET", "/v1/default/clients/bob", "", 404, "not-found", "", []option{alice}},
		{"GET", "/v1/default/clients/nobody", "", 404, "not-found", "", nil},
		{"GET", "/v1/default/events?client=bob", "", 404, "not-found", "", []option{alice}},
		{"POST", "/v1/default/ack?client=bob", `{"cursor":"a:1"}`, 404, "not-found", "", []option{alice}},
		{"GET", "/problems/nothing", "", 404, "not-found", "", nil},
		{"GET", emit, "", 405, "method-not-allowed", "", nil},
		{"PATCH", "/v1/default/clients/c", "", 405, "method-not-allowed", "", nil},

		{"POST", "/v1/default/ack?client=c", `{"cursor":"%HEAD+1%"}`, 409, "cursor-beyond-head", "cursor", nil},
		{"POST", "/v1/default/ack?client=c", `{"cursor":"0ther:1"}`, 409, "cursor-of-another-log", "cursor", nil},
		{"GET", events + "&ack=%HEAD+1%", "", 409, "cursor-beyond-head", "ack", nil},
		{"GET", events + "&ack=0ther:1", "", 409, "cursor-of-another-log", "ack", nil},

		{"POST", emit, `{"event":"e","data":"` + strings.Repeat("x", event.MaxData) + `"}`, 413, "too-large", "data", nil},
		{"POST", emit, `{"event":"e","binary":"` + strings.Repeat("AAAA", event.MaxData/4) + `"}`, 413, "too-large", "binary", nil},
		{"POST", emit, `"` + strings.Repeat("x", wire.MaxBody) + `"`, 413, "too-large", "", nil},

		{"POST", emit, `{"event":"e"}`, 415, "unsupported-media-type", "", []option{plain}},
		{"POST", emit, `{"event":"e"}`, 415, "unsupported-media-type", "", []option{header("Content-Type", "")}},
		{"POST", emit, `{"event":"e"}`, 415, "unsupported-media-type", "", []option{header("Content-Type", "application/json; charset=latin1")}},
		{"POST", emit, `{"event":"e"}`, 415, "unsupported-media-type", "", []option{header("Content-Encoding", "gzip")}},
		{"POST", "/v1/default/ack?client=c", `{"cursor":"a:1"}`, 415, "unsupported-media-type", "", []option{header("Content-Type", wire.MediaLines)}},

		{"POST", "/v1/Bad_NS/emit", `{"event":"e"}`, 422, "invalid", "namespace", nil},
		{"POST", emit, `{}`, 422, "invalid", "event", nil},
		{"POST", emit, `{"event":""}`, 422, "invalid", "event", nil},
		{"POST", emit, `{"event":null}`, 422, "invalid", "event", nil},
		{"POST", emit, `{"event":7}`, 422, "invalid", "event", nil},
		{"POST", emit, `[{"event":"e"}]`, 422, "invalid", "", nil},
		{"POST", emit, `{"event":"culvert:hello"}`, 422, "invalid", "event", nil},
		{"POST", emit, `{"event":"a\nb"}`, 422, "invalid", "event", nil},
		{"POST", emit, `{"event":"a\u0000b"}`, 422, "invalid", "event", nil},
		{"POST", emit, `{"event":"a\u2028b"}`, 422, "invalid", "event", nil},
		{"POST", emit, `{"event":"a\ud800b"}`, 422, "invalid", "event", nil},
		{"POST", emit, "{\"event\":\"a\xffb\"}", 422, "invalid", "", nil},
		{"POST", emit, `{"event":"` + strings.Repeat("x", 129) + `"}`, 422, "invalid", "event", nil},
		{"POST", emit, `{"event":"e","room":null}`, 422, "invalid", "room", nil},
		{"POST", emit, `{"event":"e","room":["a"]}`, 422, "invalid", "room", nil},
		{"POST", emit, `{"event":"e","room":"` + strings.Repeat("x", 201) + `"}`, 422, "invalid", "room", nil},
		{"POST", emit, `{"event":"e","room":"a","rooms":["b"]}`, 422, "invalid", "rooms", nil},
		{"POST", emit, `{"event":"e","rooms":null}`, 422, "invalid", "rooms", nil},
		{"POST", emit, `{"event":"e","rooms":[]}`, 422, "invalid", "rooms", nil},
		{"POST", emit, `{"event":"e","rooms":"a"}`, 422, "invalid", "rooms", nil},
		{"POST", emit, `{"event":"e","rooms":["a",""]}`, 422, "invalid", "rooms", nil},
		{"POST", emit, `{"event":"e","rooms":["a"` + strings.Repeat(`,"a"`, 100) + `]}`, 422, "invalid", "rooms", nil},
		{"POST", emit, `{"event":"e","except":"a"}`, 422, "invalid", "except", nil},
		{"POST", emit, `{"event":"e","except":["@me"]}`, 422, "invalid", "except", nil},
		{"POST", emit, `{"event":"e","data":"\u0000"}`, 422, "invalid", "data", nil},
		{"POST", emit, `{"event":"e","data":{"\udc00":1}}`, 422, "invalid", "data", nil},
		{"POST", emit, `{"event":"e","data":1,"binary":"AAAA"}`, 422, "invalid", "binary", nil},
		{"POST", emit, `{"event":"e","binary":"AAA"}`, 422, "invalid", "binary", nil},
		{"POST", emit, `{"event":"e","binary":"AA\nAA"}`, 422, "invalid", "binary", nil},
		{"POST", emit, `{"event":"e","binary":{}}`, 422, "invalid", "binary", nil},
		{"POST", emit, `{"event":"e","key":""}`, 422, "invalid", "key", nil},
		{"POST", emit, `{"event":"e","key":1}`, 422, "invalid", "key", nil},
		{"POST", emit, `{"event":"e"}`, 422, "invalid", "key", []option{header("Idempotency-Key", strings.Repeat("k", 201))}},
		{"POST", emit, `{"events":[{"event":"e"}]}`, 422, "invalid", "key", []option{header("Idempotency-Key", "k")}},
		{"POST", emit, `{"event":"e"}`, 422, "invalid", "key", []option{header("Idempotency-Key", "k"), header("Content-Type", wire.MediaLines)}},
		{"POST", emit, `{"events":[]}`, 422, "invalid", "events", nil},
		{"POST", emit, `{"events":null}`, 422, "invalid", "events", nil},
		{"POST", emit, `{"events":[{"event":"e"}],"room":"a"}`, 422, "invalid", "room", nil},
		{"POST", emit, `{"event":"e","volatile":true,"key":"k"}`, 422, "invalid", "key", nil},
		{"POST", emit, `{"event":"e","volatile":true}`, 422, "invalid", "key", []option{header("Idempotency-Key", "k")}},
		{"POST", emit, `{"event":"e","volatile":true,"reply":{}}`, 422, "invalid", "reply", nil},
		{"POST", emit, `{"events":[{"event":"e","volatile":true},{"event":"f"}]}`, 422, "invalid", "events", nil},
		{"POST", emit, `{"events":[{"event":"e","volatile":1}]}`, 422, "invalid", "events[0].volatile", nil},
		{"POST", "/v1/default/token", "", 403, "forbidden", "", nil},
		{"POST", emit, `{"event":"e","volatile":"no"}`, 422, "invalid", "volatile", nil},
		{"POST", emit, `{"event":"e","reply":true}`, 422, "invalid", "reply", nil},
		{"POST", emit, `{"event":"e","reply":{"timeout":0.04}}`, 422, "invalid", "reply.timeout", nil},
		{"POST", emit, `{"event":"e","reply":{"timeout":86401}}`, 422, "invalid", "reply.timeout", nil},
		{"POST", emit, `{"event":"e","reply":{"timeout":1e300}}`, 422, "invalid", "reply.timeout", nil},
		{"POST", emit, `{"event":"e","reply":{"timeout":"1"}}`, 422, "invalid", "reply.timeout", nil},
		{"POST", emit, `{"event":"e","reply":{"count":0}}`, 422, "invalid", "reply.count", nil},
		{"POST", emit, `{"event":"e","reply":{"count":10001}}`, 422, "invalid", "reply.count", nil},
		{"POST", emit, `{"event":"e","reply":{"count":1.5}}`, 422, "invalid", "reply.count", nil},
		{"POST", emit, `{"events":[{"event":"e","reply":{"count":-1}}]}`, 422, "invalid", "events[0].reply.count", nil},
		{"POST", emit, `{"event":"e","reply":{"seconds":1}}`, 400, "malformed", "reply.seconds", nil},
		{"POST", emit, `{"event":"e","reply":{"count":1,"count":1}}`, 400, "malformed", "reply.count", nil},
		{"POST", emit + "?wait=1", `{"event":"e"}`, 422, "invalid", "wait", nil},
		{"POST", emit + "?wait=1", `{"event":"e","volatile":true}`, 422, "invalid", "wait", nil},
		{"POST", emit + "?wait=1", `{"events":[{"event":"e","reply":{}}]}`, 422, "invalid", "wait", nil},
		{"POST", emit + "?wait=1", `{"event":"e","reply":{}}`, 422, "invalid", "wait", []option{header("Content-Type", wire.MediaLines)}},
		{"POST", emit + "?wait=51", `{"event":"e","reply":{}}`, 400, "bad-parameter", "wait", nil},
		{"POST", reply, `{"offset":1,"x":1}`, 400, "malformed", "x", nil},
		{"POST", reply, `{"offset":1,"offset":1}`, 400, "malformed", "offset", nil},
		{"POST", reply, `{"data":1}`, 422, "invalid", "offset", nil},
		{"POST", reply, `{"offset":"1"}`, 422, "invalid", "offset", nil},
		{"POST", reply, `{"offset":-1}`, 422, "invalid", "offset", nil},
		{"POST", reply, `{"offset":9007199254740992}`, 422, "invalid", "offset", nil},
		{"POST", reply, `{"offset":1,"data":1,"binary":"AAAA"}`, 422, "invalid", "binary", nil},
		{"POST", reply, `[1]`, 422, "invalid", "", nil},
		{"POST", reply, `{"offset":1}`, 404, "not-found", "", nil},
		{"POST", reply, `{"offset":1}`, 415, "unsupported-media-type", "", []option{plain}},
		{"POST", reply, `{"offset":1,"data":"` + strings.Repeat("x", event.MaxData) + `"}`, 413, "too-large", "data", nil},
		{"POST", reply + "?client=bob", `{"offset":1}`, 404, "not-found", "", []option{alice}},
		{"POST", emit + "?client=a%0Ab", `{"event":"e"}`, 422, "invalid", "client", nil},
		{"GET", "/v1/default/events?client=" + strings.Repeat("x", 129), "", 422, "invalid", "client", nil},
		{"GET", events + "&rooms=a,,b", "", 422, "invalid", "rooms", nil},
		{"GET", events + "&rooms=%00", "", 422, "invalid", "rooms", nil},
		{"GET", "/v1/default/rooms/a%0Db/events", "", 422, "invalid", "room", nil},
		{"GET", "/v1/default/clients/a%0Db", "", 422, "invalid", "client", nil},
		{"POST", "/v1/default/ack?client=c", `{}`, 422, "invalid", "cursor", nil},
		{"POST", "/v1/default/ack?client=c", `{"cursor":7}`, 422, "invalid", "cursor", nil},
		{"POST", "/v1/default/ack?client=c", `"a:1"`, 422, "invalid", "", nil},
	} {
		head := s.h.queue.Head()
		head.Offset++
		path := strings.ReplaceAll(c.path, "%HEAD+1%", head.String())
		body := strings.ReplaceAll(c.body, "%HEAD+1%", head.String())
		name := fmt.Sprintf("%s %s %.60s", c.method, c.path, c.body)
		t.Run(name, func(t *testing.T) {
			sub := *s
			sub.t = t
			r := sub.call(c.method, path, body, c.options...)
			r.problem(c.status, c.slug, c.field)
			if got := r.header.Get("WWW-Authenticate"); (got == "Bearer") != (c.status == 401) {
				t.Errorf("WWW-Authenticate %q", got)
			}
			if c.status == 405 && r.header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
			if got := r.header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control %q", got)
			}
			sub.get("/problems/" + c.slug).is(200)
		})
	}
	if r := s.get("/v1/default/rooms/*/events").page(); len(r.Events) != 0 {
		t.Errorf("refused emits were stored: %v", r.Events)
	}
}

// TestNotFoundTellsNothing compares the answers for things that do not exist with those for things of others.
func TestNotFoundTellsNothing(t *testing.T) {
	s := newSite(t)
	s.get("/v1/other/events?client=bob&wait=0").is(200)
	s.get("/v1/default/events?client=bob&wait=0").is(200)
	alice := bearerOf(token(t, "alice"))
	want := s.get("/nowhere", alice).is(404)
	for _, path := range []string{
		"/v1/other/events", "/v1/nonexistent/events", "/v1/other/clients/bob", "/v1/default/clients/bob",
		"/v1/default/clients/nobody", "/v1/default/events?client=bob", "/v1/default/events?client=nobody", "/v1/default/nothing",
	} {
		if got := s.get(path, alice).is(404); got.body != want.body {
			t.Errorf("%s: %s\nwant %s", path, got.body, want.body)
		}
	}
}

func TestFaultsOfTheQueue(t *testing.T) {
	m := &memory{}
	s := siteOf(t, inMemory(m))
	for _, c := range []struct {
		err    error
		status int
		slug   string
	}{
		{event.ErrUnavailable, 503, "unavailable"},
		{fmt.Errorf("append: %w", event.ErrUnavailable), 503, "unavailable"},
		{event.ErrOverloaded, 503, "overloaded"},
		{event.ErrClosed, 503, "draining"},
		{errors.New("connect to postgres://user:secret@host failed"), 500, "internal"},
	} {
		m.set(func() {
			m.appendErr, m.subscribeErr, m.ackErr, m.historyErr, m.stateErr = c.err, c.err, c.err, c.err, c.err
		})
		for _, r := range []result{
			s.post("/v1/default/emit", `{"event":"e"}`),
			s.post("/v1/default/emit", `{"events":[{"event":"e"}]}`),
			s.get("/v1/default/events?client=c"),
			s.get("/v1/default/events?client=c", header("Accept", "text/event-stream")),
			s.post("/v1/default/ack?client=c", `{"cursor":"a:1"}`),
			s.get("/v1/default/events?client=c&ack=a:1"),
			s.get("/v1/default/rooms/r/events"),
			s.get("/v1/default/clients/c"),
		} {
			r.problem(c.status, c.slug, "")
			if seconds, err := strconv.Atoi(r.header.Get("Retry-After")); (err == nil && seconds > 0) != (c.status == 503) {
				t.Errorf("%d with Retry-After %q", c.status, r.header.Get("Retry-After"))
			}
			if strings.Contains(r.body, "secret") {
				t.Errorf("an internal error is shown: %s", r.body)
			}
		}
	}
	m.set(func() { m.subscribeErr, m.pollErr = nil, event.ErrUnavailable })
	s.get("/v1/default/events?client=c").problem(503, "unavailable", "")
}

func TestInternalErrorsAreLoggedOnceUnderTheirID(t *testing.T) {
	var log bytes.Buffer
	m := &memory{appendErr: errors.New("the disk is on fire")}
	s := siteOf(t, inMemory(m), func(o *Options) {
		o.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	r := s.post("/v1/default/emit?access_token=hidden&client=c", `{"event":"e","data":"payload"}`, header("X-Request-Id", "my.id-1_2"))
	r.problem(500, "internal", "")
	if r.header.Get("X-Request-Id") != "my.id-1_2" || !strings.Contains(r.body, "my.id-1_2") {
		t.Errorf("%v %s", r.header, r.body)
	}
	m.set(func() { m.onAppend = func(context.Context) { panic("boom") } })
	s.post("/v1/default/emit", `{"event":"e"}`, header("X-Request-Id", "second")).problem(500, "internal", "")
	text := log.String()
	for id, n := range map[string]int{"my.id-1_2": 2, "second": 2} { // the error, and the request at debug level
		if got := strings.Count(text, id); got != n {
			t.Errorf("%s is %d times in the log:\n%s", id, got, text)
		}
	}
	if strings.Count(text, "the disk is on fire") != 1 || !strings.Contains(text, "boom") || !strings.Contains(text, "problem_test.go") {
		t.Errorf("the log says\n%s", text)
	}
	for _, secret := range []string{"hidden", testKey, "payload", "client=c", "access_token"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in the log:\n%s", secret, text)
		}
	}
}

var requestIDs = regexp.MustCompile(`^[0-9a-f]{16}$`)

func TestRequestID(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}))
	for given, kept := range map[string]bool{
		"abc": true, "A.b_c-9": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, "a b": false, "a\"b": false, "ü": false, "<a>": false,
	} {
		got := s.get("/livez", header("X-Request-Id", given)).header.Get("X-Request-Id")
		if kept && got != given || !kept && !requestIDs.MatchString(got) {
			t.Errorf("%q became %q", given, got)
		}
	}
}
