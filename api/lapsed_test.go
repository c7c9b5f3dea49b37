package api

import (
	"fmt"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

// staffed is a site where alice joined staff by her own token, and her tokens with and
// without the right to staff.
func staffed(t *testing.T) (s *site, with, without option) {
	t.Helper()
	s = newSite(t)
	with, without = bearerOf(token(t, "alice", "rooms:staff")), bearerOf(token(t, "alice", "rooms:lobby"))
	s.get("/v1/default/events?wait=0", with).is(200)
	s.call("PUT", membershipPath("staff", "me"), "", with).is(200)
	return s, with, without
}

// A membership that the client made by its own token ends with the right: a newer token
// that does not allow the room gets nothing from it, by no transport.
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
		t.Errorf("with the right: %v", got)
	}
	// So does a backend that acts for the client.
	if got := s.get("/v1/default/events?wait=0&client=alice").page().data(); len(got) != 2 {
		t.Errorf("the backend: %v", got)
	}
}

// Memberships that a backend made hold whatever the token says, whichever was first.
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
				s.emit("staff", "1") // her own, and not for a token without the right
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
			// One leave ends it, with all that came before.
			s.settle(s.call("DELETE", membershipPath("staff", "alice"), "").is(200))
			s.emit("staff", "3")
			if got := s.get("/v1/default/events?wait=0", with).page().data(); got[len(got)-1] != "2" {
				t.Errorf("after the leave: %v", got)
			}
			if r := s.get("/v1/default/rooms/staff/clients").json(); len(r["clients"].([]any)) != 0 {
				t.Errorf("still there: %v", r)
			}
		})
	}
}

// What lapses on an open stream: a newer token takes the place of the one it came with.
func TestARenewalBringsItsRights(t *testing.T) {
	s, with, without := staffed(t)
	stream := s.stream("/v1/default/events", with)
	stream.expect("culvert:hello")
	s.emit("staff", "1")
	if got := payload(t, stream.expect("e")); got != "1" {
		t.Fatalf("got %s", got)
	}
	// Nothing says when a stream has heard of a renewal: its volatile events come in order.
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
		t.Errorf("without the right: %s", got)
	}
	renewed(with)
	s.emit("staff", "4")
	if got := payload(t, stream.expect("e")); got != "4" {
		t.Errorf("with the right again: %s", got)
	}
}

// A join by a token with the right does not open the room to the client's streams without.
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
		t.Errorf("with the right: %s", got)
	}
	if got := payload(t, mayNot.expect("e")); got != "2" {
		t.Errorf("without: %s", got)
	}
	// She is still left out where the room is.
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

// Who may not read an event any more does not reply to it.
func TestRepliesNeedTheRight(t *testing.T) {
	s, with, without := staffed(t)
	asked := s.post("/v1/default/emit", `{"room":"staff","event":"ask","reply":{"timeout":60,"count":2}}`).is(201).json()
	body := `{"offset":` + apitest.JSONText(asked["offset"]) + `,"data":1}`
	s.post("/v1/default/reply", body, without).problem(404, "not-found", "")
	s.post("/v1/default/reply", body, with).is(201)
}

// An instance with other secrets, or with the same and other rules, does not renew the
// streams of its neighbour's tokens.
func TestARenewalByAKeyThatIsNotTrusted(t *testing.T) {
	dsn := pgtest.Database(t)
	a := siteOf(t, newLive(openQueue(t, dsn)))
	theirs := []byte("another secret of thirty-two bytes")
	b := siteOf(t, newLive(openQueue(t, dsn)), func(o *Options) { o.JWTSecret = theirs })
	c := siteOf(t, newLive(openQueue(t, dsn)), func(o *Options) { o.JWTAudience = []string{"c"} })
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

// A client's lag is of what it would get: it tells a token nothing of a room that it does not
// allow, nor of events that leave the client out.
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
			t.Errorf("without and with the right, and the backend:%s, want %s", got, want)
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
	lags("2 3 3") // what came before she left is still for her
	s.call("PUT", membershipPath("staff", "alice"), "").is(200)
	s.emit("staff", "4")
	lags("3 4 4")
}
