package api

import (
	"context"
	_ "embed"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
)

// pinger is the part of the queue that knows whether Postgres is there.
type pinger interface {
	Ping(ctx context.Context) error
}

const pingTimeout = 2 * time.Second

// livez says that the process serves; it never asks Postgres.
func (h *Handler) livez(c echo.Context) error { return h.ok(c) }

// readyz says whether requests are welcome here.
func (h *Handler) readyz(c echo.Context) error {
	if h.sessions.isDraining() {
		return refuse(draining, "", "this instance is shutting down")
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), pingTimeout)
	defer cancel()
	if err := h.queue.Ping(ctx); err != nil {
		return refuse(unavailable, "", "Postgres does not answer")
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

// explain answers GET /problems/{slug}, where the type of a problem leads.
func (h *Handler) explain(c echo.Context) error {
	for _, k := range kinds {
		if k.slug == c.Param("slug") {
			text := k.title + " (" + strconv.Itoa(k.status) + ")\n\n" + k.text + "\n"
			return c.Blob(http.StatusOK, "text/plain; charset=utf-8", []byte(text))
		}
	}
	return refuse(notFound, "", nothingHere)
}
