package api

import (
	"context"
	_ "embed"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/culvertmq/culvert/api/wire"
)

// pinger is the part of the queue that knows whether Postgres answers.
type pinger interface {
	Ping(ctx context.Context) error
}

const pingTimeout = 2 * time.Second

// livez says that the process serves; it never asks Postgres.
func (h *Handler) livez(c echo.Context) error { return h.ok(c) }

// readyz says whether this instance accepts requests.
func (h *Handler) readyz(c echo.Context) error {
	if h.sessions.isDraining() {
		return wire.Refuse(wire.Draining, "", "this instance is shutting down")
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), pingTimeout)
	defer cancel()
	if err := h.queue.Ping(ctx); err != nil {
		return wire.Refuse(wire.Unavailable, "", "Postgres does not answer")
	}
	return h.ok(c)
}

func (h *Handler) ok(c echo.Context) error {
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.Blob(http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}

//go:embed openapi.yaml
var openapi []byte

// openapi serves the description of this API.
func (h *Handler) openapi(c echo.Context) error {
	return c.Blob(http.StatusOK, "application/yaml", openapi)
}

// explain answers GET /problems/{slug}, which the type of each problem refers to.
func (h *Handler) explain(c echo.Context) error {
	for _, k := range wire.Kinds {
		if k.Slug == c.Param("slug") {
			text := k.Title + " (" + strconv.Itoa(k.Status) + ")\n\n" + k.Text + "\n"
			return c.Blob(http.StatusOK, "text/plain; charset=utf-8", []byte(text))
		}
	}
	return wire.Refuse(wire.NotFound, "", wire.NothingHere)
}
