package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/api"
	"github.com/culvertmq/culvert/cmd/config"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/registry"
	"github.com/culvertmq/culvert/web"
)

// The namespace of the demo, and the rooms of the chat, which are all that its tokens allow.
const (
	demoNamespace = "demo"
	demoRooms     = "chat-*"
)

// demoSettings limit what anybody may do in the demo.
var demoSettings = registry.NamespaceSettings{
	Retention: 24 * time.Hour, Presence: []string{demoRooms},
	EmitRate: 500, ClientRate: 50, MaxConnectionsClient: 16, MaxRoomsClient: 50,
}

// demo makes the demo's namespace and its handler, which gives a token to everybody who reaches the server.
func demo(ctx context.Context, cfg *config.Config, q *queue.Queue, log *slog.Logger) (http.Handler, error) {
	switch {
	case cfg.JWTSecret == "":
		return nil, errors.New("demo: there is no secret to sign the demo's tokens with: give one with --jwt-secret, or start without --demo")
	case len(cfg.JWTAlgorithms) > 0 && !slices.Contains(cfg.JWTAlgorithms, "HS256"):
		return nil, errors.New("demo: the demo signs its tokens with HS256, which is not among --jwt-algorithms: add it, or start without --demo")
	}
	if !isLoopback(cfg.Listen) {
		log.Warn("--demo gives a token for the namespace demo to everybody who reaches this server, and its address is not a loopback address", "listen", cfg.Listen)
	}
	ns, err := event.ParseNamespace(demoNamespace)
	if err != nil {
		return nil, err
	}
	if _, err := q.Registry().PutNamespace(ctx, ns, demoSettings); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return web.New(func(client string, life time.Duration) (string, error) {
		c := claimsOf(cfg, client, life)
		c.Namespaces, c.Rooms, c.Emit = api.List{demoNamespace}, api.List{demoRooms}, api.List{demoRooms}
		return api.SignToken([]byte(cfg.JWTSecret), c)
	})
}

// claimsOf returns the claims that every token of this server needs.
func claimsOf(c *config.Config, sub string, life time.Duration) api.Claims {
	now := time.Now()
	return api.Claims{RegisteredClaims: jwt.RegisteredClaims{
		Subject:   sub,
		Audience:  c.JWTAudience[:min(1, len(c.JWTAudience))],
		Issuer:    c.JWTIssuer,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(life)),
	}}
}

// isLoopback reports whether only this machine can reach the address.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
