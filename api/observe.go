package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/culvertmq/culvert/api/visit"
	"github.com/culvertmq/culvert/api/wire"
)

const requestIDHeader = "X-Request-Id"

// observe is the outermost middleware: it gives the request its id, turns panics and errors into answers, and
// measures.
func (h *Handler) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		r, w := c.Request(), c.Response()
		id := requestID(r)
		w.Header().Set(requestIDHeader, id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		err := recovered(next, c)
		if err != nil {
			h.fail(c, id, err)
		}
		h.metrics.request(c.Path(), r.URL.RawQuery, w.Status, time.Since(start))
		if h.log.Enabled(r.Context(), slog.LevelDebug) {
			h.log.LogAttrs(r.Context(), slog.LevelDebug, "request", requestAttrs(c, id, time.Since(start))...)
		}
		return nil
	}
}

// recovered runs next and returns a panic as an error with its stack.
func recovered(next echo.HandlerFunc, c echo.Context) (err error) {
	defer func() {
		p := recover()
		if e, ok := p.(error); ok && errors.Is(e, http.ErrAbortHandler) {
			panic(p) // net/http's own way to drop the connection
		}
		if p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return next(c)
}

// fail answers with the problem for err.
func (h *Handler) fail(c echo.Context, id string, err error) {
	r, w := c.Request(), c.Response()
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		// The client has left; or the application that serves this handler has cancelled the request, and the
		// answer must not look like a 200.
		panic(http.ErrAbortHandler)
	}
	if v, ok := w.Writer.(*visit.Visit); ok && v.Broken() {
		panic(http.ErrAbortHandler) // the answer could not be written: the client has left
	}
	p := wire.FaultOf(routed(err))
	h.metrics.problem(p.Kind)
	if p.Kind == wire.Internal {
		h.log.Error("request failed", "request_id", id, "method", r.Method, "route", c.Path(), "error", err)
		p = wire.Refuse(wire.Internal, "", "the server's log has the details under request id "+id)
	}
	if w.Committed {
		panic(http.ErrAbortHandler) // half an answer must not look complete
	}
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	switch p.Status {
	case http.StatusUnauthorized:
		if header.Get("WWW-Authenticate") == "" {
			header.Set("WWW-Authenticate", "Bearer")
		}
		if p.After > 0 {
			header.Set("Retry-After", strconv.Itoa(h.retryAfter(p)))
		}
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		header.Set("Retry-After", strconv.Itoa(h.retryAfter(p)))
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
		if r.ProtoMajor == 1 {
			header.Set("Connection", "close") // the rest of the body is not read
		}
	}
	wire.Answer(w, p.Status, "application/problem+json", p.AppendJSON(nil, 0))
}

// retryAfter returns whole seconds: the known time rounded up, or else the Kind's time with jitter.
func (h *Handler) retryAfter(p *wire.Problem) int {
	if p.After > 0 {
		return int(math.Ceil(p.After.Seconds()))
	}
	return p.Retry + int(h.random()*float64(p.Retry+1))
}

// requestID returns the caller's id if it is harmless in a log and a header, or else a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get(requestIDHeader)
	if id == "" || len(id) > 64 {
		return newRequestID()
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return newRequestID()
		}
	}
	return id
}

func newRequestID() string { return fmt.Sprintf("%016x", rand.Uint64()) }

// routed turns an error of Echo's router into a problem, and returns any other error unchanged.
func routed(err error) error {
	switch {
	case errors.Is(err, echo.ErrNotFound):
		return wire.Refuse(wire.NotFound, "", wire.NothingHere)
	case errors.Is(err, echo.ErrMethodNotAllowed):
		return wire.Refuse(wire.MethodNotAllowed, "", "see the Allow header")
	}
	return err
}
