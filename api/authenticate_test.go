package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue/registry"
)

// logins are the sessions of an application, by the value of a cookie.
type logins struct {
	mu   sync.Mutex
	open map[string]Caller
}

func (l *logins) set(cookie string, c Caller) option {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[string]Caller{}
	}
	l.open[cookie] = c
	return header("Cookie", "session="+cookie)
}

func (l *logins) authenticate(r *http.Request) (Caller, error) {
	cookie, err := r.Cookie("session")
	if err != nil {
		return Caller{}, fmt.Errorf("%w: log in first", ErrUnauthorized)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.open[cookie.Value]
	if !ok {
		return Caller{}, ErrUnauthorized
	}
	return c, nil
}

// embedded sets the application's own authentication and nothing else.
func embedded(l *logins) func(*Options) {
	return func(o *Options) { o.APIKeys, o.JWTSecret, o.Authenticate = nil, nil, l.authenticate }
}

func alice(change ...func(*Caller)) Caller {
	c := Caller{Client: event.MustClient("alice"), Rooms: []string{"lobby"}, Emit: []string{"lobby"}, Issued: time.Now()}
	for _, f := range change {
		f(&c)
	}
	return c
}

// With the application's own authentication, keys and tokens are not accepted.
func TestOwnAuthenticationAlone(t *testing.T) {
	var l logins
	dsn := pgtest.Database(t)
	q := openQueue(t, dsn)
	_, key, err := q.Registry().CreateKey(t.Context(), registry.APIKey{Label: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	s := siteOf(t, ownersOf(q), embedded(&l))
	for name, o := range map[string]option{
		"nothing": header("Authorization", ""), "an API key": bearerOf(testKey), "a stored key": bearerOf(key),
		"a token": bearerOf(token(t, "alice")), "an unknown session": header("Cookie", "session=guessed"),
	} {
		r := s.get("/v1/default/events?wait=0", o).problem(401, "unauthorized", "")
		if !strings.Contains(r.body, "the application does not accept") {
			t.Errorf("%s: %s", name, r.body)
		}
	}
	s.get("/v1/default/events?wait=0&access_token="+testKey, header("Authorization", "")).problem(401, "unauthorized", "")
	if r := s.get("/v1/default/events?wait=0"); !strings.Contains(r.body, "log in first") {
		t.Errorf("the answer says %s", r.body)
	}
	s.get("/v1/default/events?wait=0", l.set("a", alice())).is(200)
	s.get("/livez", header("Authorization", "")).is(200)
}

func TestRightsOfASession(t *testing.T) {
	var l logins
	s := newSite(t, embedded(&l))
	a := l.set("a", alice(func(c *Caller) {
		c.Namespaces = []event.Namespace{event.MustNamespace("default"), event.MustNamespace("shop")}
	}))
	bob := l.set("b", Caller{Client: event.MustClient("bob")})
	backend := l.set("k", Caller{Backend: true, Name: "orders"})
	root := l.set("r", Caller{Backend: true, EveryNamespace: true})

	stream := s.stream("/v1/default/events", a)
	if f := stream.expect("culvert:hello"); decode(t, f.Data)["client"] != "alice" {
		t.Errorf("hello %s", f.Data)
	}
	s.call("PUT", membershipPath("lobby", "me"), "", a).is(200)
	s.call("PUT", membershipPath("staff", "me"), "", a).problem(403, "forbidden", "room")
	s.call("PUT", membershipPath("lobby", "me"), "", bob).problem(403, "forbidden", "room")
	s.post("/v1/default/emit", `{"room":"lobby","event":"e","data":1}`, a).is(201)
	if f := stream.expect("e"); payload(t, f) != "1" || decode(t, f.Data)["from"] != "alice" {
		t.Errorf("frame %s", f.Data)
	}
	s.post("/v1/default/emit", `{"room":"staff","event":"e"}`, a).problem(403, "forbidden", "room")
	s.post("/v1/default/emit", `{"event":"e"}`, bob).problem(403, "forbidden", "room")
	s.get("/v1/default/rooms/lobby/clients", a).is(200)
	s.get("/v1/default/rooms/lobby/clients", bob).problem(403, "forbidden", "room")
	s.get("/v1/default/rooms/lobby/events", bob).problem(403, "forbidden", "room")
	s.get("/v1/default/events?wait=0&client=alice", bob).problem(404, "not-found", "")
	s.get("/v1/shop/events?wait=0", a).is(200)
	s.get("/v1/other/events?wait=0", a).problem(404, "not-found", "")
	s.get("/v1/shop/events?wait=0", bob).problem(404, "not-found", "")
	s.post("/v1/default/token", "", a).problem(403, "forbidden", "")

	s.post("/v1/default/emit", `{"room":"@alice","event":"e","data":2}`, backend).is(201)
	if f := stream.expect("e"); payload(t, f) != "2" {
		t.Errorf("frame %s", f.Data)
	}
	s.get("/v1/default/events?wait=0&client=bob", backend).is(200)
	s.get("/v1/shop/rooms", backend).problem(404, "not-found", "")
	s.call("PUT", "/v1/other", `{}`, backend).problem(404, "not-found", "")
	s.call("PUT", "/v1/other", `{}`, root).is(201)
	if all := s.get("/v1", root).is(200).body; !strings.Contains(all, `"namespace":"other"`) {
		t.Errorf("a backend of every namespace sees %s", all)
	}
	if own := s.get("/v1", backend).is(200).body; strings.Contains(own, "other") {
		t.Errorf("a backend of one namespace sees %s", own)
	}
}

// A page of another site can make a browser send cookies, even with a GET, which may acknowledge.
func TestCookiesOfAnotherSitesPage(t *testing.T) {
	var l logins
	s := siteOf(t, inMemory(&memory{}), embedded(&l))
	a := l.set("a", alice())
	for site, status := range map[string]int{"cross-site": 403, "same-origin": 200, "none": 200, "": 200} {
		if r := s.get("/v1/default/events?wait=0", a, header("Sec-Fetch-Site", site)); r.status != status {
			t.Errorf("%q: %d %s", site, r.status, r.body)
		}
	}
	// Without a cookie, the application may use credentials that only its own pages have.
	s.get("/v1/default/events?wait=0", header("Sec-Fetch-Site", "cross-site")).problem(401, "unauthorized", "")
}

// When a session of the application expires, its streams end as those of a token do, and its requests are
// refused.
func TestASessionExpires(t *testing.T) {
	var l logins
	s := newSite(t, embedded(&l))
	s.get("/v1/default/events?wait=0", l.set("a", alice())).is(200)
	cursor := s.settle(s.post("/v1/default/emit", `{"room":"lobby","event":"e"}`, l.set("a", alice())).is(201))
	short := l.set("short", alice(func(c *Caller) { c.Expires = time.Now().Add(time.Second) }))
	stream := s.stream("/v1/default/events", short)
	stream.expect("culvert:hello")
	if f := stream.expect("culvert:reconnect"); decode(t, f.Data)["reason"] != "expired" {
		t.Errorf("reconnect %s", f.Data)
	}
	stream.ends()
	s.get("/v1/default/events?wait=0", short).problem(401, "unauthorized", "")
	s.post("/v1/default/ack", `{"cursor":"`+cursor+`"}`, short).problem(401, "unauthorized", "")
}

// Revoking logs a client out: its streams end on every instance, and its session is refused. A newer session is
// accepted.
func TestLoggingOut(t *testing.T) {
	var l logins
	dsn := pgtest.Database(t)
	q := openQueue(t, dsn)
	s, other := siteOf(t, ownersOf(q), embedded(&l)), siteOf(t, ownersOf(openQueue(t, dsn)), embedded(&l))
	session := l.set("a", alice())
	unknown := l.set("when", alice(func(c *Caller) { c.Issued = time.Time{} }))
	stream := other.stream("/v1/default/events", session)
	stream.expect("culvert:hello")
	if err := q.Registry().Revoke(t.Context(), event.MustNamespace("default"), event.MustClient("alice")); err != nil {
		t.Fatal(err)
	}
	if f := stream.expect("culvert:reconnect"); decode(t, f.Data)["reason"] != "expired" {
		t.Errorf("reconnect %s", f.Data)
	}
	for _, o := range []option{session, unknown} {
		s.get("/v1/default/events?wait=0", o).problem(401, "unauthorized", "")
	}
	s.get("/v1/default/events?wait=0", l.set("b", alice(func(c *Caller) { c.Issued = time.Now().Add(time.Second) }))).is(200)
}

// All that an application can answer, on purpose or by mistake. Internal errors are not shown.
func TestAnswersOfTheApplication(t *testing.T) {
	long := strings.Repeat("x", auth.MaxPatternLength+1)
	for name, c := range map[string]struct {
		answer func(context.Context) (Caller, error)
		status int
		slug   string
	}{
		"unauthorized": {func(context.Context) (Caller, error) { return Caller{}, ErrUnauthorized }, 401, "unauthorized"},
		"forbidden": {func(context.Context) (Caller, error) {
			return Caller{}, fmt.Errorf("%w: banned", ErrForbidden)
		}, 403, "forbidden"},
		"away": {func(context.Context) (Caller, error) {
			return Caller{}, fmt.Errorf("sessions: %w", event.ErrUnavailable)
		}, 503, "unavailable"},
		"other": {func(context.Context) (Caller, error) { return alice(), errors.New("secret") }, 500, "internal"},
		"not its own": {func(context.Context) (Caller, error) {
			return alice(), fmt.Errorf("secret: %w", event.ErrNotFound)
		}, 500, "internal"},
		"a name": {func(context.Context) (Caller, error) {
			_, err := event.ParseClient("secret\n")
			return Caller{}, err
		}, 500, "internal"},
		"panic":  {func(context.Context) (Caller, error) { panic("secret") }, 500, "internal"},
		"nobody": {func(context.Context) (Caller, error) { return Caller{}, nil }, 500, "internal"},
		"no backend": {func(context.Context) (Caller, error) {
			return alice(func(c *Caller) { c.EveryNamespace = true }), nil
		}, 500, "internal"},
		"long patterns": {func(context.Context) (Caller, error) {
			return alice(func(c *Caller) { c.Emit = []string{long} }), nil
		}, 500, "internal"},
		"expired": {func(context.Context) (Caller, error) {
			return alice(func(c *Caller) { c.Expires = time.Unix(1, 0) }), nil
		}, 401, "unauthorized"},
		"the body": {func(context.Context) (Caller, error) { return alice(), nil }, 403, "forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			s := siteOf(t, inMemory(&memory{}), func(o *Options) {
				o.APIKeys, o.JWTSecret = nil, nil
				o.Authenticate = func(r *http.Request) (Caller, error) {
					if n, _ := r.Body.Read(make([]byte, 10)); n > 0 {
						t.Error("the application reads the body")
					}
					return c.answer(r.Context())
				}
			})
			r := s.post("/v1/default/emit", `{"room":"no","event":"e"}`)
			if r.status != c.status || !strings.Contains(r.body, "/problems/"+c.slug) || strings.Contains(r.body, "secret") {
				t.Errorf("%d %s", r.status, r.body)
			}
			if r.status == 403 && name != "the body" && !strings.Contains(r.body, "banned") {
				t.Errorf("the answer does not say why: %s", r.body)
			}
		})
	}
}

// Sessions have the rates and limits of clients, backends those of API keys.
func TestLimitsOfSessions(t *testing.T) {
	var l logins
	s := siteOf(t, inMemory(&memory{}), embedded(&l), limited(Limits{ClientRate: slow, Burst: three, ClientConnections: 1}))
	a, b := l.set("a", alice()), l.set("again", alice())
	const three = `{"events":[{"room":"lobby","event":"e"},{"room":"lobby","event":"e"},{"room":"lobby","event":"e"}]}`
	s.post("/v1/default/emit", three, a).is(201)
	s.post("/v1/default/emit", `{"room":"lobby","event":"e"}`, b).limitedTo(1, "client")
	stream := s.stream("/v1/default/events", a)
	stream.expect("culvert:hello")
	s.get("/v1/default/events", b).problem(429, "too-many-connections", "")
}

// Authenticate cannot be set together with keys.
func TestOwnAuthenticationOrKeys(t *testing.T) {
	var l logins
	for name, change := range map[string]func(*Options){
		"API key": func(o *Options) { o.APIKeys = []string{testKey} },
		"secret":  func(o *Options) { o.JWTSecret = testSecret },
		"JWKS":    func(o *Options) { o.JWKSURL = "https://issuer.example/keys" },
	} {
		o := Options{Authenticate: l.authenticate, Logger: slog.New(slog.DiscardHandler)}
		change(&o)
		if _, err := newHandler(inMemory(&memory{}), o); err == nil || !strings.Contains(err.Error(), "Authenticate replaces APIKeys") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
