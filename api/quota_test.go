package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// Rooms are kept for ever, so the number of rooms that a client may make is limited, by whatever request.
func TestAClientMakesOnlySoManyRooms(t *testing.T) {
	s := newSite(t, func(o *Options) { o.RoomQuota = &event.RoomQuota{Client: 5} })
	alice := bearerOf(token(t, "alice", "rooms:*", "emit:*"))
	emit := func(room string) string { return fmt.Sprintf(`{"room":%q,"event":"e"}`, room) }
	for i := range 3 {
		s.post("/v1/default/emit", emit(fmt.Sprint("r", i)), alice).is(201)
	}
	s.call("PUT", membershipPath("joined", "me"), "", alice).is(200)
	s.post("/v1/default/emit", `{"rooms":["a","b"],"event":"e"}`, alice).problem(409, "room-quota", "room")
	s.post("/v1/default/emit", emit("last"), alice).is(201)
	s.post("/v1/default/emit", emit("more"), alice).problem(409, "room-quota", "room")
	s.call("PUT", membershipPath("more", "me"), "", alice).problem(409, "room-quota", "room")
	lines := s.post("/v1/default/emit", emit("r1")+"\n"+emit("more")+"\n"+emit("r2")+"\n", alice, header("Content-Type", wire.MediaLines)).is(200)
	if got := strings.Count(lines.body, `"offset"`); got != 2 || strings.Count(lines.body, "room-quota") != 1 {
		t.Errorf("lines: %s", lines.body)
	}
	// Rooms that a backend makes for her do not count for her.
	s.post("/v1/default/emit?client=carol", emit("for carol")).is(201)
	carol := bearerOf(token(t, "carol", "emit:*"))
	for i := range 5 {
		s.post("/v1/default/emit", emit(fmt.Sprint("c", i)), carol).is(201)
	}
	s.post("/v1/default/emit", emit("c6"), carol).problem(409, "room-quota", "room")
	// Rooms that exist cost nothing, and other clients have limits of their own.
	s.post("/v1/default/emit", emit("r1"), alice).is(201)
	s.post("/v1/default/emit", emit("of a backend")).is(201)
	s.post("/v1/default/emit", emit("of a backend"), alice).is(201)
	s.post("/v1/default/emit", emit("of bob"), bearerOf(token(t, "bob", "emit:*"))).is(201)
}

func TestANamespaceHasOnlySoManyRooms(t *testing.T) {
	s := newSite(t, func(o *Options) { o.RoomQuota = &event.RoomQuota{Namespace: 8} })
	refused := 0
	for i := range 12 {
		r := s.post("/v1/default/emit", fmt.Sprintf(`{"room":"r%d","event":"e"}`, i))
		if r.status == http.StatusConflict {
			refused++
		}
	}
	if refused < 4 || refused > 6 { // some rooms are Culvert's own
		t.Errorf("%d of 12 rooms refused, 8 allowed", refused)
	}
	s.post("/v1/default/emit", `{"room":"r0","event":"e"}`).is(201)
	s.post("/v1/other/emit", `{"room":"r0","event":"e"}`).is(201)
}
