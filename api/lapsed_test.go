package api

import (
	"fmt"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

// staffed is a site where alice joined staff with her own token. It returns her tokens with and without the
// right to staff.
func staffed(t *testing.T) (s *site, with, without option) {
	t.Helper()
	s = newSite(t)
	with, without = bearerOf(token(t, "alice", "rooms:staff")), bearerOf(token(t, "alice", "rooms:lobby"))
	s.get("/v1/default/events?wait=0", with).is(200)
	s.call("PUT", membershipPath("staff", "me"), "", with).is(200)
	return s, with, without
}

// A membership that a client made with its own token counts only while its token allows the room: a newer token
// without the right gets none of the room's events, on any transport.
func TestMembershipsDoNotOutliveTheRight(t *testing.T) {
	s, with, without := staffed(t)
	stream := s.stream("/v1/default/events", without)
	stream.expect("culvert:hello")
	s.emit("staff", `"secret"`)
	s.post("/v1/default/emit", `{"room":"staff","event":"e","data":"fleeting","volatile":true}`).is(202)
	s.emit("@alice", `"hers"`)
	for name, r := range map[string]result{
		"stored cursor": s.get("/v1/default/events?wait=0", without),
		"earliest":      s.get("/v1/default/events?wait=0&from=earliest", without),
	} {
		if got := r.page().data(); len(got) != 1 || got[0] != `"hers"` {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := payload(t, stream.expect("e")); got != `"hers"` {
		t.Errorf("the stream got %s", got)
	}
	// A token that allows it again finds the membership as it was.
	if got := s.get("/v1/default/events?wait=0", with).page().data(); len(got) != 2 || got[0] != `"secret"` {
		t.Errorf("a token that has the right got %v", got)
	}
	// So does a backend that acts for the client.
	if got := s.get("/v1/default/events?wait=0&client=alice").page().data(); len(got) != 2 {
		t.Errorf("the backend: %v", got)
	}
}

// A poll that continues where one with another token ended is answered by the rights of its own.
func TestAPollContinuesByItsOwnToken(t *testing.T) {
	s, with, without := staffed(t)
	cursor := s.get("/v1/default/events?wait=0", with).page().Cursor
	s.emit("staff", `"secret"`)
	if got := s.get("/v1/default/events?wait=0&after="+cursor, without).page(); len(got.data()) != 0 {
		t.Errorf("without the right: %v", got.data())
	}
	for range 2 {
		if got := s.get("/v1/default/events?wait=0&after="+cursor, with).page().data(); len(got) != 1 {
			t.Errorf("with the right: %v", got)
		}
	}
}

// A membership that a backend made counts whatever the token says, even if the client made one, too.
func TestMembershipsOfABackendHold(t *testing.T) {
	for name, first := range map[string]string{"after the client's": "alice", "before the client's": "backend"} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			with, without := bearerOf(token(t, "alice", "rooms:staff")), bearerOf(token(t, "alice"))
			s.get("/v1/default/events?wait=0", with).is(200)
			stream := s.stream("/v1/default/events", without)
			stream.expect("culvert:hello")
			if first == "alice" {
				s.call("PUT", membershipPath("staff", "alice"), "", with).is(200)
				s.emit("staff", "1") // only her own membership counts yet, so a token without the right must not get this
			}
			at := s.settle(s.call("PUT", membershipPath("staff", "alice"), "").is(200))
			if again := s.settle(s.call("PUT", membershipPath("staff", "alice"), "").is(200)); again != at {
				t.Errorf("joined at %s, again at %s", at, again)
			}
			if again := s.settle(s.call("PUT", membershipPath("staff", "alice"), "", with).is(200)); again != at {
				t.Errorf("joined at %s, by her own token at %s", at, again)
			}
			s.emit("staff", "2")
			if got := payload(t, stream.expect("e")); got != "2" {
				t.Errorf("the stream got %s", got)
			}
			if got := s.get("/v1/default/events?wait=0", without).page().data(); len(got) != 1 || got[0] != "2" {
				t.Errorf("a poll got %v", got)
			}
			// One leave ends both memberships.
			s.settle(s.call("DELETE", membershipPath("staff", "alice"), "").is(200))
			s.emit("staff", "3")
			if got := s.get("/v1/default/events?wait=0", with).page().data(); got[len(got)-1] != "2" {
				t.Errorf("after the leave: %v", got)
			}
			if r := s.get("/v1/default/rooms/staff/clients").json(); len(r["clients"].([]any)) != 0 {
				t.Errorf("staff still has members: %v", r)
			}
		})
	}
}

// On an open stream the rights of a newer token replace those of the token it began with.
func TestARenewalBringsItsRights(t *testing.T) {
	s, with, without := staffed(t)
	stream := s.stream("/v1/default/events", with)
	stream.expect("culvert:hello")
	s.emit("staff", "1")
	if got := payload(t, stream.expect("e")); got != "1" {
		t.Fatalf("got %s", got)
	}
	// Volatile events arrive in order: when a later one arrives, the stream has got the renewal.
	renewed := func(by option) {
		t.Helper()
		s.post("/v1/default/token", "", by).is(200)
		s.post("/v1/default/emit", `{"room":"@alice","event":"mark","volatile":true}`).is(202)
		stream.expect("mark")
	}
	renewed(without)
	s.emit("staff", "2")
	s.post("/v1/default/emit", `{"room":"staff","event":"fleeting","volatile":true}`).is(202)
	s.emit("@alice", "3")
	if got := payload(t, stream.expect("e")); got != "3" {
		t.Errorf("a token without the right got %s", got)
	}
	renewed(with)
	s.emit("staff", "4")
	if got := payload(t, stream.expect("e")); got != "4" {
		t.Errorf("a token that has the right again got %s", got)
	}
}

// A join with a token that has the right does not open the room to the client's streams whose tokens do not
// have it.
func TestAJoinCountsByTheTokenOfTheStream(t *testing.T) {
	s := newSite(t)
	with, without := bearerOf(token(t, "alice", "rooms:staff")), bearerOf(token(t, "alice"))
	mayNot, may := s.stream("/v1/default/events", without), s.stream("/v1/default/events", with)
	mayNot.expect("culvert:hello")
	may.expect("culvert:hello")
	s.settle(s.call("PUT", membershipPath("staff", "me"), "", with).is(200))
	s.emit("staff", "1")
	s.emit("@alice", "2")
	if got := payload(t, may.expect("e")); got != "1" {
		t.Errorf("a token that has the right got %s", got)
	}
	if got := payload(t, mayNot.expect("e")); got != "2" {
		t.Errorf("without: %s", got)
	}
	// She is still a member for "except": events that except staff do not reach her.
	s.post("/v1/default/emit", `{"room":"@alice","event":"e","data":3,"except":["staff"]}`).is(201)
	s.emit("@alice", "4")
	if got := payload(t, mayNot.expect("e")); got != "4" {
		t.Errorf("left out: %s", got)
	}
	s.settle(s.call("DELETE", membershipPath("staff", "me"), "", without).is(200))
	s.post("/v1/default/emit", `{"room":"@alice","event":"e","data":5,"except":["staff"]}`).is(201)
	if got := payload(t, mayNot.expect("e")); got != "5" {
		t.Errorf("after she left: %s", got)
	}
}

// A client that may no longer read an event cannot reply to it.
func TestRepliesNeedTheRight(t *testing.T) {
	s, with, without := staffed(t)
	asked := s.post("/v1/default/emit", `{"room":"staff","event":"ask","reply":{"timeout":60,"count":2}}`).is(201).json()
	body := `{"offset":` + apitest.JSONText(asked["offset"]) + `,"data":1}`
	s.post("/v1/default/reply", body, without).problem(404, "not-found", "")
	s.post("/v1/default/reply", body, with).is(201)
}

// An instance does not renew streams for a token that it would not accept itself: one of another secret, or one
// that its rules refuse.
func TestARenewalByAKeyThatIsNotTrusted(t *testing.T) {
	dsn := pgtest.Database(t)
	a := siteOf(t, ownersOf(openQueue(t, dsn)))
	theirs := []byte("another secret of thirty-two bytes")
	b := siteOf(t, ownersOf(openQueue(t, dsn)), func(o *Options) { o.JWTSecret = theirs })
	c := siteOf(t, ownersOf(openQueue(t, dsn)), func(o *Options) { o.JWTAudience = []string{"c"} })
	soon := time.Now().Add(6 * time.Second)
	stream := a.stream("/v1/default/events", bearerOf(tokenUntil(t, "alice", soon)))
	stream.expect("culvert:hello")
	later := jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix(), "aud": "c"}
	b.post("/v1/default/token", "", bearerOf(apitest.HS(jwt.SigningMethodHS256, theirs).Sign(t, later))).is(200)
	c.post("/v1/default/token", "", bearerOf(apitest.HS(jwt.SigningMethodHS256, testSecret).Sign(t, later))).is(200)
	if f := stream.expect("culvert:reconnect"); decode(t, f.Data)["reason"] != "expired" {
		t.Errorf("reconnect %s", f.Data)
	}
}

// A client's lag counts only events that it would get: not those of rooms that its token does not allow, nor
// those that except it.
func TestLagIsOfWhatAClientGets(t *testing.T) {
	s, with, without := staffed(t)
	s.settle(s.get("/v1/default/events?wait=0&ack=auto", with).is(200))
	lags := func(want string) {
		t.Helper()
		got := ""
		for _, as := range []option{without, with, bearerOf(testKey)} {
			got += " " + fmt.Sprint(s.get("/v1/default/clients/alice", as).is(200).json()["lag"])
		}
		if got != " "+want {
			t.Errorf("the lags without the right, with it, and for a backend are%s, want %s", got, want)
		}
	}
	s.post("/v1/default/emit", `{"room":"staff","event":"e","except":["@alice"]}`).is(201) // the first event that names @alice
	s.post("/v1/default/emit", `{"event":"e","except":["*"]}`).is(201)
	lags("0 0 0")
	s.emit("staff", "1")
	lags("0 1 1")
	s.emit("*", "2")
	s.emit("@alice", "3")
	lags("2 3 3")
	s.call("DELETE", membershipPath("staff", "me"), "", without).is(200)
	lags("2 3 3") // events from before she left still count
	s.call("PUT", membershipPath("staff", "alice"), "").is(200)
	s.emit("staff", "4")
	lags("3 4 4")
}
