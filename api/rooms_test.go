package api

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

// sites are two instances on one database.
func sites(t testing.TB, change ...func(*Options)) (a, b *site) {
	t.Helper()
	dsn := pgtest.Database(t)
	return siteOf(t, ownersOf(openQueue(t, dsn)), change...), siteOf(t, ownersOf(openQueue(t, dsn)), change...)
}

func membershipPath(room, client string) string {
	return "/v1/default/rooms/" + url.PathEscape(room) + "/clients/" + url.PathEscape(client)
}

func TestJoinAndLeaveWhileStreamsAreOpen(t *testing.T) {
	a, b := sites(t)
	alice := bearerOf(token(t, "alice", "rooms:lobby"))
	onA := a.stream("/v1/default/events", alice)
	onA.expect("culvert:hello")
	onB := b.stream("/v1/default/events", alice)
	onB.expect("culvert:hello")

	a.emit("lobby", `"before"`)
	joined := b.call("PUT", membershipPath("lobby", "me"), "", alice).is(http.StatusOK).json()["cursor"]
	if again := a.call("PUT", membershipPath("lobby", "alice"), "", alice).is(http.StatusOK).json()["cursor"]; again != joined {
		t.Errorf("joined at %v, again at %v", joined, again)
	}
	a.emit("lobby", `"member"`)
	b.call("DELETE", membershipPath("lobby", "alice"), "").is(http.StatusOK) // by a backend
	a.emit("lobby", `"after"`)
	a.emit("*", `"all"`)

	for name, s := range map[string]*sseStream{"one instance": onA, "the other": onB} {
		for _, want := range []string{`"member"`, `"all"`} {
			if got := payload(t, s.expect("e")); got != want {
				t.Errorf("on %s: %s, want %s", name, got, want)
			}
		}
	}
	// A poll from the start returns the same events.
	p := b.get("/v1/default/events?wait=5", alice).page()
	if got := p.data(); len(got) != 2 || got[0] != `"member"` || got[1] != `"all"` {
		t.Errorf("poll: %v", got)
	}
}

func TestRoomsAndMembersAreListed(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{membershipPath("a/b c", "bob"), membershipPath("a/b c", "ällice"), membershipPath("z", "bob")} {
		s.call("PUT", path, "").is(http.StatusOK)
	}
	s.emit("z", "1")
	page := s.get("/v1/default/rooms/a%2Fb%20c/clients?limit=1").is(http.StatusOK).json()
	if c, _ := page["clients"].([]any); page["more"] != true || len(c) != 1 || c[0].(map[string]any)["client"] != "bob" {
		t.Errorf("first page %v", page)
	}
	page = s.get("/v1/default/rooms/a%2Fb%20c/clients?limit=1&after=bob").is(http.StatusOK).json()
	if c, _ := page["clients"].([]any); page["more"] != false || len(c) != 1 || c[0].(map[string]any)["client"] != "ällice" {
		t.Errorf("second page %v", page)
	}
	rooms, _ := s.get("/v1/default/rooms").is(http.StatusOK).json()["rooms"].([]any)
	if len(rooms) != 2 || rooms[0].(map[string]any)["room"] != "a/b c" || apitest.JSONText(rooms[0].(map[string]any)["members"]) != "2" {
		t.Errorf("rooms %v", rooms)
	}
	if last := apitest.JSONText(rooms[1].(map[string]any)["last_offset"]); last == "0" {
		t.Errorf("rooms %v", rooms)
	}
}

func TestForgetClosesStreamsOfTheOtherInstance(t *testing.T) {
	a, b := sites(t)
	stream := a.stream("/v1/default/events?client=bob")
	stream.expect("culvert:hello")
	b.call("PUT", membershipPath("lobby", "bob"), "").is(http.StatusOK)
	b.call("DELETE", "/v1/default/clients/bob", "").is(http.StatusNoContent)
	if f := stream.expect("culvert:reconnect"); decode(t, f.Data)["reason"] != "expired" {
		t.Errorf("reconnect %s", f.Data)
	}
	stream.ends()
	a.get("/v1/default/clients/bob").problem(404, "not-found", "")
	a.call("DELETE", "/v1/default/clients/bob", "").problem(404, "not-found", "")
}

func TestWhoMayDoWhatInRooms(t *testing.T) {
	s := newSite(t, func(o *Options) { o.MaxRooms = 1 })
	alice := bearerOf(token(t, "alice", "rooms:room-*"))
	bare := bearerOf(token(t, "alice"))
	s.call("PUT", membershipPath("room-1", "alice"), "", alice).is(http.StatusOK)
	for _, c := range []struct {
		method, path string
		who          option
		status       int
		slug, field  string
	}{
		{"PUT", membershipPath("room-2", "alice"), alice, 422, "too-many-rooms", "room"},
		{"PUT", membershipPath("other", "alice"), alice, 403, "forbidden", "room"},
		{"PUT", membershipPath("room-1", "bob"), alice, 404, "not-found", ""},
		{"DELETE", membershipPath("room-1", "bob"), alice, 404, "not-found", ""},
		{"PUT", membershipPath("*", "alice"), alice, 422, "invalid", "room"},
		{"PUT", membershipPath("@alice", "alice"), alice, 422, "invalid", "room"},
		{"DELETE", membershipPath("@bob", "alice"), alice, 422, "invalid", "room"},
		{"PUT", membershipPath("a\nb", "alice"), alice, 422, "invalid", "room"},
		{"PUT", membershipPath("room-1", "me"), bearerOf(testKey), 400, "bad-parameter", "client"},
		{"GET", "/v1/default/rooms/other/clients", alice, 403, "forbidden", "room"},
		{"GET", "/v1/default/rooms/*/clients", bare, 403, "forbidden", "room"},
		{"GET", "/v1/default/rooms/@bob/clients", alice, 403, "forbidden", "room"},
		{"GET", "/v1/default/rooms/room-1/clients?after=%00", alice, 422, "invalid", "after"},
		{"GET", "/v1/default/rooms", alice, 403, "forbidden", ""},
		{"GET", "/v1/default/rooms?after=", bearerOf(testKey), 422, "invalid", "after"},
		{"DELETE", "/v1/default/clients/alice", alice, 403, "forbidden", ""},
		{"DELETE", "/v1/default/clients/bob", alice, 404, "not-found", ""},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			r := s.call(c.method, c.path, "", c.who)
			r.t = t
			r.problem(c.status, c.slug, c.field)
		})
	}
	// Leaving is always allowed.
	s.call("DELETE", membershipPath("room-1", "alice"), "", bare).is(http.StatusOK)
}
