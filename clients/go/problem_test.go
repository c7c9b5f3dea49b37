package culvert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
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

// TestTemporary: only a refusal by the server itself is final, and an answer of a proxy that
// the request is too large.
func TestTemporary(t *testing.T) {
	for err, want := range map[error]bool{
		&Problem{Status: 503}:                                    true,
		&Problem{Status: 500}:                                    true,
		&Problem{Status: 429}:                                    true,
		&Problem{Status: 408}:                                    true,
		&Problem{Status: 400}:                                    false,
		&Problem{Status: 401}:                                    false,
		&Problem{Status: 401, RetryAfter: time.Second}:           true,
		&Problem{Status: 401, Foreign: true}:                     true,
		fmt.Errorf("x: %w", ErrName):                             false,
		&Problem{Status: 404}:                                    false,
		&Problem{Status: 401}:                                    false,
		&Problem{Status: 401, RetryAfter: time.Second}:           true,
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

// TestCallPatience: the patience is short at first, and longer after failures and for large bodies.
func TestCallPatience(t *testing.T) {
	for _, c := range []struct{ failures, size, want int }{
		{0, 0, 4}, {1, 0, 8}, {2, 0, 16}, {0, 10_000, 5}, {0, 1_000_000, 60}, {4, 0, 60}, {1000, 0, 60},
	} {
		if got := callPatience(c.failures, c.size); got != time.Duration(c.want)*time.Second {
			t.Errorf("after %d failures, with %d bytes: %v, want %d s", c.failures, c.size, got, c.want)
		}
	}
}

// TestDeadConnection: a call on a silent connection is repeated on another one.
func TestDeadConnection(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	url := newSite(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1) == 1 {
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	if _, err := dial(t, url, Options{}).Emit(ctx, Message{Event: "e", Rooms: []string{"r"}}); err != nil || requests.Load() != 2 {
		t.Errorf("%d requests: %v", requests.Load(), err)
	}
}
