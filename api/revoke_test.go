package api

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
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

// Revoking a client refuses its tokens, and ends what they have open on the other instance.
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
	if f := stream.expect("culvert:reconnect"); decode(t, f.Data)["reason"] != "expired" {
		t.Errorf("reconnect %s", f.Data)
	}
	stream.ends()
	for _, s := range []*site{a, b} {
		s.get("/v1/default/events?wait=0", before).problem(401, "unauthorized", "")
		s.get("/v1/default/events?wait=0", never).problem(401, "unauthorized", "") // a token without iat
	}

	// Other clients are not affected. With a newer token alice continues where she was.
	a.emit("@alice", "2")
	a.emit("@bob", "3")
	if got := payload(t, others.expect("e")); got != "3" {
		t.Errorf("bob got %s", got)
	}
	if got := payload(t, backend.expect("e")); got != "2" {
		t.Errorf("the backend got %s", got)
	}
	// "iat" is in whole seconds, so a token issued in the second of the revocation may be older and is refused.
	at := a.h.registry.RevokedAt(parse(t, event.ParseNamespace, "default"), parse(t, event.ParseClient, "alice"))
	later := issuedAt(t, "alice", at.Add(time.Second))
	apitest.Until(t, func() bool { return time.Now().After(at.Add(time.Second)) }) // otherwise the token would not be valid yet
	if got := b.get("/v1/default/events?wait=0", later).page().data(); len(got) != 1 || got[0] != "2" {
		t.Errorf("alice got %v", got)
	}
}

// Deleting a namespace keeps its revocations: a revoked token is also refused in a new namespace of that name,
// however long it is valid.
func TestDeletingANamespaceKeepsItsRevocations(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := siteOf(t, ownersOf(openQueue(t, dsn))), siteOf(t, ownersOf(openQueue(t, dsn)))
	old := bearerOf(rawToken(t, plainHeader, fmt.Sprintf(
		`{"sub":"mallory","exp":%d,"iat":%d,"ns":"tenant","emit":"*"}`, time.Now().Add(time.Hour).Unix(), time.Now().Add(-time.Minute).Unix())))
	const event = `{"room":"r","event":"e"}`
	a.post("/v1/tenant/emit", event, old).is(201)
	a.call("POST", "/v1/tenant/clients/mallory/revoke", "").is(204)
	a.call("DELETE", "/v1/tenant", "").is(204)
	a.post("/v1/tenant/emit", event, old).problem(401, "unauthorized", "")
	a.post("/v1/tenant/emit", event).is(201)                                                     // makes the namespace again
	apitest.Until(t, func() bool { return b.post("/v1/tenant/emit", event, old).status == 401 }) // the other instance learns of it within a second
	// An instance that starts after the deletion refuses it, too.
	a.call("DELETE", "/v1/tenant", "").is(204)
	c := siteOf(t, ownersOf(openQueue(t, dsn)))
	c.post("/v1/tenant/emit", event, old).problem(401, "unauthorized", "")
	c.post("/v1/tenant/emit", event, issuedFor(t, "tenant", "bob")).is(201)
}

// issuedFor makes a token for one namespace, which may emit to every room.
func issuedFor(t testing.TB, ns, sub string) option {
	t.Helper()
	return bearerOf(token(t, sub, "ns:"+ns, "emit:*"))
}
