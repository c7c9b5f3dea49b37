package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 5, 40, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"":                              0,
		"3":                             3 * time.Second,
		"-3":                            0,
		"soon":                          0,
		"86400":                         maxRetryAfter,
		"Mon, 23 Nov 2026 05:40:30 GMT": 30 * time.Second,
		"Mon, 23 Nov 2026 05:39:30 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {v}}, now); got != want {
			t.Errorf("retryAfter(%q) = %v, want %v", v, got, want)
		}
	}
}

// TestTemporary: only a refusal by the server itself is final, and what on the way
// says that the request is too large.
func TestTemporary(t *testing.T) {
	for err, want := range map[error]bool{
		&Problem{Status: 503}:                                    true,
		&Problem{Status: 500}:                                    true,
		&Problem{Status: 429}:                                    true,
		&Problem{Status: 408}:                                    true,
		&Problem{Status: 400}:                                    false,
		&Problem{Status: 404}:                                    false,
		&Problem{Status: 404, Foreign: true}:                     true,
		&Problem{Status: 413, Foreign: true}:                     false,
		errors.New("connection refused"):                         true,
		errLate:                                                  true,
		fmt.Errorf("x: %w", foreign("a login page")):             true,
		fmt.Errorf("x: %w", &tls.CertificateVerificationError{}): false,
		ErrClosed: false,
	} {
		if got := temporary(err); got != want {
			t.Errorf("temporary(%v) = %v", err, got)
		}
	}
}
