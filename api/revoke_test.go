package api

import (
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/queue"
)

func issuedAt(t testing.TB, sub string, at time.Time) option {
	t.Helper()
	signed, err := SignToken(testSecret, Claims{RegisteredClaims: jwt.RegisteredClaims{
		Subject: sub, IssuedAt: jwt.NewNumericDate(at), ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return bearerOf(signed)
}

func parse[T any](t testing.TB, f func(string) (T, error), s string) T {
	t.Helper()
	v, err := f(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Revoking a client ends what it has open on the other instance, and its tokens.
func TestRevokingAClient(t *testing.T) {
	a, b := sites(t)
	before, never := issuedAt(t, "alice", time.Now().Add(-time.Minute)), bearerOf(token(t, "alice"))
	bob := issuedAt(t, "bob", time.Now().Add(-time.Minute))
	cursor := a.emit("@alice", "1")
	a.post("/v1/default/ack", `{"cursor":"`+cursor+`"}`, before).is(http.StatusOK)
	stream, others := b.stream("/v1/default/events", before), b.stream("/v1/default/events", bob)
	stream.expect("culvert:hello")
	others.expect("culvert:hello")
	backend := b.stream("/v1/default/events?client=alice")
	backend.expect("culvert:hello")

	a.call("POST", "/v1/default/clients/alice/revoke", "", before).problem(403, "forbidden", "")
	a.call("POST", "/v1/default/clients/alice/revoke", "").is(http.StatusNoContent)
	if f := stream.expect("culvert:reconnect"); decode(t, f.data)["reason"] != "expired" {
		t.Errorf("reconnect %s", f.data)
	}
	stream.ends()
	for _, s := range []*site{a, b} {
		s.get("/v1/default/events?wait=0", before).problem(401, "unauthorized", "")
		s.get("/v1/default/events?wait=0", never).problem(401, "unauthorized", "") // does not say when it was issued
	}

	// The others go on, and so does alice with a newer token, where she was.
	a.emit("@alice", "2")
	a.emit("@bob", "3")
	if got := others.expect("e").payload(t); got != "3" {
		t.Errorf("bob got %s", got)
	}
	if got := backend.expect("e").payload(t); got != "2" {
		t.Errorf("the backend got %s", got)
	}
	// "iat" is in whole seconds: one of the second of the revocation may be older.
	at := a.h.queue.RevokedAt(parse(t, queue.ParseNamespace, "default"), parse(t, queue.ParseClient, "alice"))
	later := issuedAt(t, "alice", at.Add(time.Second))
	until(t, func() bool { return time.Now().After(at.Add(time.Second)) }) // or it is not valid yet
	if got := b.get("/v1/default/events?wait=0", later).page().data(); len(got) != 1 || got[0] != "2" {
		t.Errorf("alice got %v", got)
	}
}
