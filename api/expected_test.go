package api

import (
	"testing"

	"github.com/culvertmq/culvert/api/internal/apitest"
)

// "complete" must not reveal who is in a room whose members the asker may not list: the answer is the same with
// bob in staff and without him.
func TestCompleteRepliesDoNotTellWhoIsWhere(t *testing.T) {
	s := newSite(t)
	alice := bearerOf(token(t, "alice", "emit:*", "rooms:lobby"))
	bob := s.stream("/v1/default/events?client=bob")
	bob.expect("culvert:hello")
	s.call("PUT", membershipPath("lobby", "bob"), "").is(200)
	apitest.Until(t, func() bool { return s.get("/v1/default/clients/bob").json()["online"] == true }) // otherwise no reply is expected
	asks := map[string]string{
		"excepted":  `{"room":"lobby","except":["staff"],"event":"ask","reply":{"timeout":0.3}}`,
		"addressed": `{"room":"staff","event":"ask","reply":{"timeout":0.3}}`,
		"own room":  `{"room":"@bob","except":["staff"],"event":"ask","reply":{"timeout":0.3}}`,
		"everyone":  `{"room":"*","except":["staff"],"event":"ask","reply":{"timeout":0.3}}`,
		"of nobody": `{"room":"@nobody","event":"ask","reply":{"timeout":0.3}}`,
		"two rooms": `{"rooms":["staff","elsewhere"],"event":"ask","reply":{"timeout":0.3}}`,
	}
	told := func() map[string]string {
		t.Helper()
		got := map[string]string{}
		for name, ask := range asks {
			got[name] = s.post("/v1/default/emit?wait=5", ask, alice).is(201).outcome()
		}
		return got
	}
	without := told()
	s.call("PUT", membershipPath("staff", "bob"), "").is(200)
	for name, got := range told() {
		if want := `{"replies":[],"complete":false}`; got != want || without[name] != want {
			t.Errorf("%s: %s with bob in staff, %s without", name, got, without[name])
		}
	}
	// With the right to list staff, the replies are complete.
	may := bearerOf(token(t, "alice", "emit:*", "rooms:lobby", "rooms:staff"))
	if got := s.post("/v1/default/emit?wait=5", asks["excepted"], may).is(201).outcome(); got != `{"replies":[],"complete":true}` {
		t.Errorf("a token that has the right got %s", got)
	}
	// A client that is addressed by its own room completes the replies by replying.
	held := s.waiting("/v1/default/emit?wait=20", `{"room":"@bob","event":"by name","reply":{"timeout":20}}`, alice)
	f := bob.expect("ask")
	for f.Event == "ask" {
		f = bob.next()
	}
	s.post("/v1/default/reply?client=bob", `{"offset":`+apitest.JSONText(decode(t, f.Data)["offset"])+`,"data":1}`).is(201)
	if got := (<-held).is(201).outcome(); got != `{"replies":[{"from":"bob","data":1}],"complete":true}` {
		t.Errorf("by name: %s", got)
	}
}
