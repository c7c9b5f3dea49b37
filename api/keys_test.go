package api

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/registry"
)

// twoSites are two instances on one database.
func twoSites(t *testing.T) (a, b *site, admin *queue.Queue) {
	dsn := pgtest.Database(t)
	admin = openQueue(t, dsn)
	return siteOf(t, ownersOf(admin)), siteOf(t, ownersOf(openQueue(t, dsn))), admin
}

// storedToken stores a key and waits until every site accepts it.
func storedToken(t *testing.T, admin *queue.Queue, k registry.APIKey, sites ...*site) (id, token string) {
	t.Helper()
	k, token, err := admin.Registry().CreateKey(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sites {
		apitest.Until(t, func() bool { _, ok := s.h.registry.Grant(token); return ok })
	}
	return k.ID, token
}

func TestStoredKeyOpensItsNamespaces(t *testing.T) {
	a, b, admin := twoSites(t)
	shop, err := event.ParseNamespace("shop")
	if err != nil {
		t.Fatal(err)
	}
	_, all := storedToken(t, admin, registry.APIKey{}, a, b)
	_, one := storedToken(t, admin, registry.APIKey{Namespaces: []event.Namespace{shop}}, a, b)
	for _, s := range []*site{a, b} {
		for _, ns := range []string{"shop", "default"} {
			s.post("/v1/"+ns+"/emit", `{"event":"e"}`, bearerOf(all)).is(201)
		}
		s.post("/v1/shop/emit", `{"event":"e"}`, bearerOf(one)).is(201)
		s.get("/v1/shop/clients/nobody?access_token="+one, header("Authorization", "")).is(404)
		s.post("/v1/default/emit", `{"event":"e"}`, bearerOf(one)).problem(404, "not-found", "")
		s.get("/v1/default", bearerOf(one)).problem(404, "not-found", "")
		s.post("/v1/shop/emit", `{"event":"e"}`, bearerOf(one+"x")).problem(401, "unauthorized", "")
	}
}

// When a key is revoked, all that was opened with it ends on every instance: streams, polls, uploads.
func TestRevocationEndsSessionsEverywhere(t *testing.T) {
	a, b, admin := twoSites(t)
	id, token := storedToken(t, admin, registry.APIKey{}, a, b)
	other := b.stream("/v1/default/events?client=other")
	other.expect("culvert:hello")
	var streams []*sseStream
	for _, s := range []*site{a, b} {
		st := s.stream("/v1/default/events?client=bob", bearerOf(token))
		st.expect("culvert:hello")
		streams = append(streams, st)
	}
	polled := make(chan result)
	go func() { polled <- b.get("/v1/default/events?client=carol&wait=50", bearerOf(token)) }()
	body, lines := io.Pipe()
	uploaded := make(chan string)
	go func() {
		r := b.request(t.Context(), "POST", "/v1/default/emit", "", bearerOf(token), header("Content-Type", wire.MediaLines))
		r.Body, r.ContentLength = body, -1
		res, err := b.client.Do(r)
		if err != nil {
			uploaded <- err.Error()
			return
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		uploaded <- string(text)
	}()
	// Emit to a room that the poll does not read, so that only the revocation can end the poll.
	if _, err := io.WriteString(lines, `{"room":"elsewhere","event":"e"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	apitest.Until(t, func() bool { return openSessions(b) == 4 })
	if err := admin.Registry().RevokeKey(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, st := range streams {
		f := st.next()
		for f.Event == "e" {
			f = st.next()
		}
		if f.Event != "culvert:reconnect" || !strings.Contains(f.Data, `"expired"`) {
			t.Errorf("the stream ends with %+v", f)
		}
		st.ends()
	}
	if r := <-polled; r.status != 200 {
		t.Errorf("the long poll is answered with %d %s", r.status, r.body)
	}
	if text := <-uploaded; !strings.Contains(text, "/problems/unauthorized") {
		t.Errorf("the upload ends with %s", text)
	}
	lines.Close()
	for _, s := range []*site{a, b} {
		s.get("/v1/default/events?client=bob&wait=0", bearerOf(token)).problem(401, "unauthorized", "")
	}
	b.emit("*", `"still there"`)
	for f := other.next(); payload(t, f) != `"still there"`; f = other.next() {
		if f.Event != "e" {
			t.Fatalf("another key's stream gets %+v", f)
		}
	}
}

// The streams of the old secret end when its grace ends; those of the new one stay.
func TestRotationEndsTheOldSecretsStreams(t *testing.T) {
	a, b, admin := twoSites(t)
	id, old := storedToken(t, admin, registry.APIKey{}, a, b)
	st := b.stream("/v1/default/events?client=bob", bearerOf(old))
	st.expect("culvert:hello")
	fresh, err := admin.Registry().RotateKey(t.Context(), id, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	apitest.Until(t, func() bool { _, ok := b.h.registry.Grant(fresh); return ok })
	b.emit("*", `1`, bearerOf(old))
	st.expect("e")
	if fresh, err = admin.Registry().RotateKey(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	if f := st.expect("culvert:reconnect"); !strings.Contains(f.Data, `"expired"`) {
		t.Errorf("reason %s", f.Data)
	}
	b.get("/v1/default/events?client=bob&wait=0", bearerOf(old)).is(401)
	b.get("/v1/default/events?client=bob&wait=0", bearerOf(fresh)).is(200)
}

// A stream that uses the old secret of a rotated key ends with the grace period, without another change.
func TestStreamsEndWithTheGracePeriod(t *testing.T) {
	_, b, admin := twoSites(t)
	id, old := storedToken(t, admin, registry.APIKey{}, b)
	st := b.stream("/v1/default/events?client=bob", bearerOf(old))
	st.expect("culvert:hello")
	fresh, err := admin.Registry().RotateKey(t.Context(), id, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	apitest.Until(t, func() bool { _, ok := b.h.registry.Grant(fresh); return ok })
	other := b.stream("/v1/default/events?client=carol", bearerOf(fresh))
	other.expect("culvert:hello")
	if f := st.expect("culvert:reconnect"); !strings.Contains(f.Data, `"expired"`) {
		t.Errorf("reason %s", f.Data)
	}
	b.emit("*", `1`)
	other.expect("e")
}

func TestStoredKeysAreEnoughToServe(t *testing.T) {
	q := openQueue(t, pgtest.Database(t))
	if _, err := New(q, Options{}); err == nil {
		t.Error("a server without any credentials starts")
	}
	_, token := storedToken(t, q, registry.APIKey{})
	s := siteOf(t, ownersOf(q), func(o *Options) { o.APIKeys, o.JWTSecret = nil, nil })
	s.post("/v1/default/emit", `{"event":"e"}`, bearerOf(token)).is(201)
	s.post("/v1/default/emit", `{"event":"e"}`, bearerOf("wrong")).is(401)
}
