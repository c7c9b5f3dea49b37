package api

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/api/limits"
	"github.com/culvertmq/culvert/api/park"
	"github.com/culvertmq/culvert/api/stream"
	"github.com/culvertmq/culvert/api/visit"
	"github.com/culvertmq/culvert/queue"
)

// Handler serves the API. It is an http.Handler. Any goroutine may use it.
type Handler struct {
	o             Options
	queue         store
	subscriptions subscriptionSource
	registry      registrar
	keys          *auth.Authority
	echo          *echo.Echo
	sessions      sessions
	limits        *limits.Limiter
	visits        *visit.Guard
	metrics       *metrics
	streams       stream.Shared
	parking       *park.Pool
	log           *slog.Logger
	random        func() float64     // from 0 to 1, for jitter; tests replace it
	stop          context.CancelFunc // ends watchCredentials
	watching      sync.WaitGroup
}

// store is what the handlers need of a *queue.Queue. The parts are declared beside the code that needs them, or
// below it.
type store interface {
	appender
	uploader
	signaller
	reader
	clients
	rooms
	asker
	pinger
}

// registrar is what the handlers need of a *registry.Registry, in the same way.
type registrar interface {
	auth.Keys
	HasKeys() bool
	revoker
	revocations
	namespaces
}

// owners has what a Handler is made from: a queue, its subscriptions and its registry.
type owners struct {
	queue         store
	subscriptions subscriptionSource
	registry      registrar
}

// ownersOf returns the owners of a real queue.
func ownersOf(q *queue.Queue) owners {
	return owners{queue: q, subscriptions: queueSubscriptions{q}, registry: q.Registry()}
}

// New makes a Handler. Set up its server with ConfigureServer. The caller must Close the Handler.
// Errors: an option is wrong, or no credentials are configured, so that nobody could use it.
func New(q *queue.Queue, o Options) (*Handler, error) { return newHandler(ownersOf(q), o) }

func newHandler(of owners, o Options) (*Handler, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.Authenticate == nil && len(o.APIKeys) == 0 && !o.credentials().TakesTokens() && !of.registry.HasKeys() {
		return nil, errors.New("neither an API key nor a JWT secret, public key, JWKS URL or Authenticate is set, and no key is stored: nobody could use the server")
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	strict := o
	strict.AllowWeakSecrets = false
	if err := strict.CheckSecrets(); err != nil {
		o.Logger.Warn("weak secrets are allowed", "error", err)
	}
	keys, err := auth.New(o.credentials(), of.registry)
	if err != nil {
		return nil, err
	}
	h := &Handler{
		o: o, queue: of.queue, subscriptions: of.subscriptions, registry: of.registry, keys: keys, echo: echo.New(),
		limits: limits.New(*o.Limits, of.registry), metrics: m, log: o.Logger, random: rand.Float64,
	}
	h.streams = stream.Shared{
		Keys: keys, Streamed: m.streamed, Log: o.Logger, Heartbeat: o.Heartbeat, Jitter: h.jitter,
	}
	h.parking = park.New(o.WriteTimeout, o.Logger)
	h.visits = visit.New(visit.Options{
		BodyTimeout: o.bodyTimeout, WriteTimeout: o.WriteTimeout,
		Anonymous: o.Limits.Anonymous, AnonymousAddress: o.Limits.AnonymousAddress,
		AsksCredentials: asksCredentials, Draining: h.sessions.isDraining,
	})
	h.echo.Use(h.observe)
	if cors := h.cors(); cors != nil {
		h.echo.Use(cors)
	}
	h.routes()
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	h.watching.Go(func() { h.watchCredentials(ctx) })
	return h, nil
}

func (h *Handler) routes() {
	e := h.echo
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		e.Add(method, "/livez", h.livez)
		e.Add(method, "/readyz", h.readyz)
		e.Add(method, "/openapi.yaml", h.openapi)
		e.Add(method, "/problems/:slug", h.explain)
	}
	if h.o.Demo != nil {
		e.Match([]string{http.MethodGet, http.MethodHead, http.MethodPost}, "/demo*", echo.WrapHandler(h.o.Demo))
	}
	e.GET(namespacesRoute, h.admitKey(h.namespaces))
	e.GET(namespaceRoute, h.admit(h.namespace))
	e.PUT(namespaceRoute, h.admit(h.putNamespace))
	e.PATCH(namespaceRoute, h.admit(h.patchNamespace))
	e.DELETE(namespaceRoute, h.admit(h.deleteNamespace))
	e.POST(emitRoute, h.admit(h.emit))
	e.POST("/v1/:ns/reply", h.admit(h.takeReply))
	e.POST("/v1/:ns/ack", h.admit(h.ack))
	e.POST("/v1/:ns/token", h.admit(h.renew))
	e.GET(eventsRoute, h.admit(h.events))
	e.GET("/v1/:ns/rooms", h.admit(h.listRooms))
	e.GET("/v1/:ns/rooms/:room/events", h.admit(h.history))
	e.GET("/v1/:ns/rooms/:room/clients", h.admit(h.members))
	e.PUT("/v1/:ns/rooms/:room/clients/:client", h.admit(h.join))
	e.DELETE("/v1/:ns/rooms/:room/clients/:client", h.admit(h.leave))
	e.GET("/v1/:ns/clients/:client", h.admit(h.client))
	e.DELETE("/v1/:ns/clients/:client", h.admit(h.forget))
	e.POST("/v1/:ns/clients/:client/revoke", h.admit(h.revoke))
}

// Drain starts the shutdown: /readyz fails, long polls return at once with retry, streams end with
// culvert:reconnect, and so do new streams. Emits are accepted until the queue is closed. Drain does not wait;
// see Wait.
func (h *Handler) Drain() { h.sessions.drain() }

// Wait waits until no stream, long poll, waiting emit or NDJSON upload is open. Call it after Drain.
// Errors: that of ctx.
func (h *Handler) Wait(ctx context.Context) error { return h.sessions.wait(ctx) }

// Close ends the handler's own goroutines, and waits until they have ended: one fetches the keys of
// Options.JWKSURL, one ends streams and other open requests whose credentials were revoked, and some serve parked
// streams (see Options.NoParking), which it closes. Requests are still answered.
func (h *Handler) Close() {
	h.parking.Close()
	h.stop()
	h.watching.Wait()
	h.keys.Close()
}

// cors lets pages of the configured origins use the API; it returns nil if there are none. It comes before
// admit, since a preflight has no credentials. It never allows cookies: only Options.Authenticate may read
// them, for pages of its own origin.
func (h *Handler) cors() echo.MiddlewareFunc {
	if len(h.o.CORSOrigins) == 0 {
		return nil
	}
	return middleware.CORSWithConfig(middleware.CORSConfig{
		AllowOrigins:  h.o.CORSOrigins, // New refuses patterns
		AllowMethods:  []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"},
		AllowHeaders:  []string{"Authorization", "Content-Type", "Last-Event-ID", "Idempotency-Key", "Prefer", "X-Request-Id"},
		ExposeHeaders: []string{"X-Request-Id", "Retry-After", "ETag", "Preference-Applied"},
		MaxAge:        7200,
	})
}

// ConfigureServer sets what a server of this handler needs: a time limit for headers, none for bodies and
// responses (the handler has its own), HTTP/2 without TLS beside HTTP/1.1, for proxies that use it, and limits
// on each connection. It sets Handler and ErrorLog if they are nil. See Listener, too.
func (h *Handler) ConfigureServer(s *http.Server) {
	h.visits.Configure(s)
	if s.ErrorLog == nil {
		s.ErrorLog = slog.NewLogLogger(h.log.Handler(), slog.LevelWarn)
	}
	if s.Handler == nil {
		s.Handler = h
	}
}

// Listener wraps the listener of a server that ConfigureServer has set up. It limits connections that have not
// yet had a request with good credentials, and idle connections (Limits.Anonymous). It closes a connection
// after a request with both Content-Length and Transfer-Encoding (RFC 9112, section 6.1). Without it, only
// these three things are missing.
func (h *Handler) Listener(l net.Listener) net.Listener { return h.visits.Listener(l) }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.visits.Serve(w, r, h.echo) }
