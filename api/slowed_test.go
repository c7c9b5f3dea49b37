package api

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertmq/culvert/api/wire"
)

// fast sends an upload whose lines all arrive at once, in faked time.
func fast(ctx context.Context, t *testing.T, h *Handler, lines int, authorization string) (results []string, took time.Duration) {
	t.Helper()
	w := &duplex{recorder: recorder{header: http.Header{}}}
	body := io.NopCloser(strings.NewReader(strings.Repeat("{\"event\":\"e\"}\n\n", lines)))
	r, err := http.NewRequestWithContext(ctx, "POST", "/v1/default/emit?client=c", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", wire.MediaLines)
	r.Header.Set("Authorization", "Bearer "+authorization)
	start := time.Now()
	h.ServeHTTP(w, r)
	took = time.Since(start)
	synctest.Wait()
	return strings.Split(strings.TrimSuffix(w.body.String(), "\n"), "\n"), took
}

// TestUploadIsSlowedDown: lines wait for their tokens, but at most as long as the server waits for a stalled
// upload, and not after the upload's end.
func TestUploadIsSlowedDown(t *testing.T) {
	for _, c := range []struct {
		name    string
		limits  Limits
		lines   int
		expires time.Duration // 0: an hour
		prepare func(h *Handler, leave context.CancelFunc)
		results int
		last    string
		line    int // the line of the problem; every other line is blank
		took    time.Duration
	}{
		{"at its rate", Limits{ClientRate: 2, Burst: 5 * time.Second}, 30, 0, nil, 30, `"offset":30`, 0, 10 * time.Second},
		{"at the namespace's", Limits{NamespaceRate: 2, Burst: 5 * time.Second}, 30, 0, nil, 30, `"offset":30`, 0, 10 * time.Second},
		{"too slow", Limits{ClientRate: 0.01, Burst: three}, 5, 0, nil, 4, `/problems/rate-limited`, 7, 0},
		{"expiry", Limits{ClientRate: 0.1, Burst: 10 * time.Second}, 5, 25 * time.Second, nil, 4, `/problems/unauthorized`, 6, 25 * time.Second},
		{"drain", Limits{ClientRate: 0.02, Burst: 50 * time.Second}, 5, 0, func(h *Handler, _ context.CancelFunc) { h.Drain() }, 2, `/problems/draining`, 2, 10*time.Second + uploadGrace},
		{"left", Limits{ClientRate: 0.02, Burst: 50 * time.Second}, 5, 0, func(_ *Handler, leave context.CancelFunc) { leave() }, 2, `/problems/rate-limited`, 3, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, err := newHandler(inMemory(&memory{}), Options{APIKeys: []string{testKey}, JWTSecret: testSecret, Limits: &c.limits})
				if err != nil {
					t.Fatal(err)
				}
				defer h.Close()
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				if c.prepare != nil {
					time.AfterFunc(10*time.Second, func() { c.prepare(h, leave) })
				}
				auth := tokenUntil(t, "c", time.Now().Add(cmp.Or(c.expires, time.Hour)), "emit:*")
				results, took := fast(ctx, t, h, c.lines, auth)
				last := results[len(results)-1]
				if len(results) != c.results || !strings.Contains(last, c.last) || took.Round(time.Second) != c.took {
					t.Errorf("%d results in %v, the last %s", len(results), took, last)
				}
				if want := fmt.Sprintf(`"line":%d`, c.line); strings.Contains(last, "problems") && !strings.Contains(last, want) {
					t.Errorf("%s, want %s", last, want)
				}
			})
		})
	}
}
