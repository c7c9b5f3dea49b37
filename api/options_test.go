package api

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/culvertmq/culvert/event"
)

// An application may overwrite its secrets, or change its limits, after New has returned. The handler must have
// copied them: otherwise an overwritten secret would be one that everybody knows.
func TestOptionsAreCopied(t *testing.T) {
	secret := slices.Clone(testSecret)
	o := Options{
		APIKeys: []string{testKey}, JWTSecret: secret, JWTAudience: nil, CORSOrigins: []string{"https://app.example"},
		Limits: &Limits{ClientConnections: 1}, RoomQuota: &event.RoomQuota{Client: 1}, Logger: slog.New(slog.DiscardHandler),
	}
	good := bearerOf(token(t, "alice"))
	s := siteOf(t, inMemory(&memory{}), func(with *Options) { *with = o })
	clear(secret)
	*o.Limits, *o.RoomQuota, o.APIKeys[0] = Limits{}, event.RoomQuota{}, "spoilt-spoilt-spoilt"
	s.get("/v1/default/events?wait=0", good).is(200)
	s.get("/v1/default/events?wait=0&client=c").is(200)
	if l := s.h.o.Limits.ClientConnections; l != 1 || s.h.o.RoomQuota.Client != 1 {
		t.Errorf("limits %d, quota %+v", l, s.h.o.RoomQuota)
	}
}
