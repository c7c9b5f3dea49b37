package queue_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue/registry"
)

func TestStoredKeys(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	if q.Registry().HasKeys() {
		t.Error("a new database has keys")
	}
	k, token, err := q.Registry().CreateKey(t.Context(), registry.APIKey{Label: "shop", Namespaces: []event.Namespace{namespace("shop")}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(token, "ck_"+k.ID+"_") || len(token) < 3+len(k.ID)+1+64 || k.CreatedAt.IsZero() || !q.Registry().HasKeys() {
		t.Errorf("key %+v, token %s", k, token)
	}
	g, ok := q.Registry().Grant(token)
	if !ok || g.Key != k.ID || len(g.Namespaces) != 1 || g.Namespaces[0] != namespace("shop") || !g.Until.IsZero() {
		t.Errorf("grant %+v, %v", g, ok)
	}
	for _, bad := range []string{"", "ck_", "ck_" + k.ID, "ck_" + k.ID + "_", token + "0", token[:len(token)-1], "ck_nobody_" + token[4:], strings.ToUpper(token)} {
		if _, ok := q.Registry().Grant(bad); ok {
			t.Errorf("the token %q gives access", bad)
		}
	}
	var leaked int
	secret := token[strings.LastIndexByte(token, '_')+1:]
	if err := connect(t, dsn).QueryRow(t.Context(), `SELECT count(*) FROM culvert.api_keys k WHERE k::text LIKE '%' || $1 || '%'`, secret).Scan(&leaked); err != nil || leaked != 0 {
		t.Error("the secret is stored", err)
	}
}

func TestKeyRotation(t *testing.T) {
	q := open(t, pgtest.Database(t))
	k, first, err := q.Registry().CreateKey(t.Context(), registry.APIKey{})
	if err != nil {
		t.Fatal(err)
	}
	opens := func(token string) bool { _, ok := q.Registry().Grant(token); return ok }
	second := must[string](t)(q.Registry().RotateKey(t.Context(), k.ID, time.Hour))
	g, _ := q.Registry().Grant(first)
	if !opens(first) || !opens(second) || g.Until.Before(time.Now().Add(59*time.Minute)) || !q.Registry().Holds(g) {
		t.Errorf("within the grace: %v, %v, until %v", opens(first), opens(second), g.Until)
	}
	third := must[string](t)(q.Registry().RotateKey(t.Context(), k.ID, 0))
	if opens(first) || opens(second) || !opens(third) || q.Registry().Holds(g) {
		t.Errorf("without grace: %v, %v, %v", opens(first), opens(second), opens(third))
	}
	g, _ = q.Registry().Grant(third)
	if err := q.Registry().RevokeKey(t.Context(), k.ID); err != nil || opens(third) || q.Registry().Holds(g) || q.Registry().HasKeys() {
		t.Errorf("a revoked key gives access: %v, %v", opens(third), err)
	}
	if _, err := q.Registry().RotateKey(t.Context(), k.ID, 0); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("a revoked key was rotated: %v", err)
	}
	if err := q.Registry().RevokeKey(t.Context(), "nobody"); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("revoked nobody: %v", err)
	}
	if all := must[[]registry.APIKey](t)(q.Registry().Keys(t.Context())); len(all) != 1 || all[0].RevokedAt.IsZero() {
		t.Errorf("keys %+v", all)
	}
}

func TestKeyExpiry(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	var bad *event.InvalidError
	for field, k := range map[string]registry.APIKey{
		"expires_at": {ExpiresAt: time.Now().Add(-time.Second)},
		"namespaces": {Namespaces: []event.Namespace{}},
		"label":      {Label: "a\nb"},
	} {
		if _, _, err := q.Registry().CreateKey(t.Context(), k); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	_, token, err := q.Registry().CreateKey(t.Context(), registry.APIKey{ExpiresAt: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	g, ok := q.Registry().Grant(token)
	if !ok || time.Until(g.Until) > time.Hour || !q.Registry().HasKeys() {
		t.Errorf("grant %+v, %v", g, ok)
	}
	sql(t, dsn, `UPDATE culvert.api_keys SET expires_at = now() - interval '1 second'`, `SELECT culvert.registry_changed()`)
	until(t, "it has expired", func() bool { return !q.Registry().Holds(g) })
	if _, ok := q.Registry().Grant(token); ok || q.Registry().HasKeys() {
		t.Error("an expired key gives access")
	}
}
