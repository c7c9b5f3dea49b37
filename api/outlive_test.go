package api

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue/registry"
)

// A body may take half a minute. If its sender has lost the right meanwhile, the request is refused, whatever
// it is and whoever sent it.
func TestSlowBodiesDoNotOutliveTheRight(t *testing.T) {
	admin := openQueue(t, pgtest.Database(t))
	s := siteOf(t, ownersOf(admin))
	revoked := func(t *testing.T) (credentials string, end func()) {
		id, token := storedToken(t, admin, registry.APIKey{}, s)
		return token, func() {
			if err := admin.Registry().RevokeKey(t.Context(), id); err != nil {
				t.Error(err)
			}
		}
	}
	for name, c := range map[string]struct {
		method, path, body string
		credentials        func(t *testing.T) (string, func())
	}{
		"emit, client revoked": {"POST", "/v1/default/emit", `{"room":"slow","event":"e"}`, func(t *testing.T) (string, func()) {
			return token(t, "alice", "emit:*"), func() { s.call("POST", "/v1/default/clients/alice/revoke", "").is(http.StatusNoContent) }
		}},
		"emit, token expired": {"POST", "/v1/default/emit", `{"room":"slow","event":"e"}`, func(t *testing.T) (string, func()) {
			exp := time.Now().Add(2 * time.Second).Truncate(time.Second)
			return tokenUntil(t, "bob", exp, "emit:*"), func() { apitest.Until(t, func() bool { return time.Now().After(exp) }) }
		}},
		"batch, key revoked":  {"POST", "/v1/default/emit", `{"events":[{"room":"slow","event":"e"}]}`, revoked},
		"volatile":            {"POST", "/v1/default/emit", `{"room":"slow","event":"e","volatile":true}`, revoked},
		"reply":               {"POST", "/v1/default/reply", `{"offset":1,"data":1}`, revoked},
		"ack":                 {"POST", "/v1/default/ack?client=carol", `{"cursor":"x:1"}`, revoked},
		"settings":            {"PUT", "/v1/slow", `{"emit_rate":1}`, revoked},
		"change of settings":  {"PATCH", "/v1/default", `{"emit_rate":1}`, revoked},
		"malformed":           {"POST", "/v1/default/emit", `{"room":`, revoked},
		"delete a namespace":  {"DELETE", "/v1/default", `{}`, revoked},
		"join, without need":  {"PUT", "/v1/default/rooms/slow/clients/dave", `{}`, revoked},
		"revoke somebody":     {"POST", "/v1/default/clients/dave/revoke", `{}`, revoked},
		"namespaces, by body": {"GET", "/v1/default/rooms", `{}`, revoked},
	} {
		t.Run(name, func(t *testing.T) {
			credentials, end := c.credentials(t)
			conn := s.beginAs(c.method, c.path, credentials, c.body, 1)
			s.takes("", "", oneRequest)
			end()
			if _, err := io.WriteString(conn, c.body[len(c.body)-1:]); err != nil {
				t.Fatal(err)
			}
			if got := statusOf(t, conn); got != http.StatusUnauthorized {
				t.Errorf("status %d", got)
			}
			s.idle()
		})
	}
	if p := s.get("/v1/default/rooms/slow/events").page(); len(p.Events) != 0 {
		t.Errorf("the events were stored nevertheless: %v", p.Events)
	}
	if got := s.get("/v1").is(200).body; strings.Contains(got, "slow") || !strings.Contains(got, `"emit_rate":null`) {
		t.Errorf("namespaces %s", got)
	}
}
