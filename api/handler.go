package api

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/api/limits"
	"github.com/culvertmq/culvert/api/visit"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/registry"
)

// Handler serves the API. It is an http.Handler.
type Handler struct {
	o        Options
	queue    store
	keys     *auth.Authority
	echo     *echo.Echo
	sessions sessions
	limits   *limits.Limiter
	visits   *visit.Guard
	metrics  *metrics
	log      *slog.Logger
	random   func() float64 // for jitter; tests replace it
}

// keyring is the part of the queue that knows which credentials are good.
type keyring interface {
	auth.Keys
	HasKeys() bool
	Revoke(ctx context.Context, ns event.Namespace, c event.Client) error
	Revocations() int
	Watch(f func())
}

// store is what the handlers need of a *queue.Queue; each part is declared
// where it is used.
type store interface {
	appender
	reader
	clients
	rooms
	volatilePublisher
	asker
	pinger
	keyring
	registrar
}

// live is the real store: it only turns Subscribe's result into an interface.
type live struct {
	*queue.Queue
	*registry.Registry
}

func newLive(q *queue.Queue) live { return live{q, q.Registry()} }

// Subscribe implements reader.
func (l live) Subscribe(ctx context.Context, in queue.Interest) (subscription, error) {
	s, err := l.Queue.Subscribe(ctx, in)
	if err != nil {
		return nil, err // a nil *queue.Subscription must not become a non-nil interface
	}
	return s, nil
}

// New makes the Handler. Its server needs what ConfigureServer sets.
func New(q *queue.Queue, o Options) (*Handler, error) { return newHandler(newLive(q), o) }

func newHandler(s store, o Options) (*Handler, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.Authenticate == nil && len(o.APIKeys) == 0 && !o.credentials().TakesTokens() && !s.HasKeys() {
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
	keys, err := auth.New(o.credentials(), s)
	if err != nil {
		return nil, err
	}
	h := &Handler{
		o: o, queue: s, keys: keys, echo: echo.New(),
		limits: limits.New(*o.Limits, s), metrics: m, log: o.Logger, random: rand.Float64,
	}
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
	s.Watch(h.endUnheld)
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

// Drain begins the end: /readyz fails, long polls return at once with retry,
// streams end with culvert:reconnect, and so do those that still come. Emits
// are taken until the queue is closed. It does not wait; see Wait.
func (h *Handler) Drain() { h.sessions.drain() }

// Wait returns when no stream, long poll or NDJSON upload is open, or with
// ctx's error. It is meant for after Drain.
func (h *Handler) Wait(ctx context.Context) error { return h.sessions.wait(ctx) }

// Close ends what the handler does by itself, which is to fetch the keys of
// Options.JWKSURL, and returns when it has ended. Requests are still answered.
func (h *Handler) Close() { h.keys.Close() }

// cors lets pages of the configured origins use the API; nil without any. It
// stands before admit: a preflight carries no credentials. Credentials in the
// sense of CORS (cookies) are never allowed: only Options.Authenticate may read them, for pages of its own origin.
func (h *Handler) cors() echo.MiddlewareFunc {
	if len(h.o.CORSOrigins) == 0 {
		return nil
	}
	return middleware.CORSWithConfig(middleware.CORSConfig{
		AllowOrigins:  h.o.CORSOrigins, // checked to be without patterns
		AllowMethods:  []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"},
		AllowHeaders:  []string{"Authorization", "Content-Type", "Last-Event-ID", "Idempotency-Key", "Prefer", "X-Request-Id"},
		ExposeHeaders: []string{"X-Request-Id", "Retry-After", "ETag", "Preference-Applied"},
		MaxAge:        7200,
	})
}

// jitter is a duration between the two, so that those who part together do not
// return together.
func (h *Handler) jitter(least, most time.Duration) time.Duration {
	return least + time.Duration(h.random()*float64(most-least))
}

// ConfigureServer sets what a server of this handler needs: a limit on the time
// for headers, none on the time for bodies and responses (the handler gives each its
// own), and HTTP/2 without TLS beside HTTP/1.1, for the proxies that speak it, with
// bounds on what a connection may hold. Handler is set when it is nil. See Listener, too.
func (h *Handler) ConfigureServer(s *http.Server) {
	h.visits.Configure(s)
	if s.ErrorLog == nil {
		s.ErrorLog = slog.NewLogLogger(h.log.Handler(), slog.LevelWarn)
	}
	if s.Handler == nil {
		s.Handler = h
	}
}

// Listener wraps the listener of a server that ConfigureServer has set up. The connections
// it accepts have bounds until a request with good credentials has come, and while they are
// idle after it (Limits.Anonymous), and are closed after a request with a Content-Length and a Transfer-Encoding (RFC 9112,
// section 6.1). Without it neither is so, and everything else is.
func (h *Handler) Listener(l net.Listener) net.Listener { return h.visits.Listener(l) }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.visits.Serve(w, r, h.echo) }

// asksCredentials reports whether the route of a request asks for credentials; whether they are good is
// seen later.
func asksCredentials(r *http.Request) bool {
	path := r.URL.Path
	return r.Method != http.MethodOptions && (path == namespacesRoute || strings.HasPrefix(path, namespacesRoute+"/"))
}
