package api

import (
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

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
