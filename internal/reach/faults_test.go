package reach

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// heldBody passes headers on at once and keeps the body.
type heldBody struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (h *heldBody) Write(b []byte) (int, error) { return h.body.Write(b) }

func (h *heldBody) WriteHeader(status int) {
	h.ResponseWriter.WriteHeader(status)
	_ = http.NewResponseController(h.ResponseWriter).Flush()
}

// withholdBodies sends headers when they come and a body when all of it is there.
func withholdBodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		held := &heldBody{ResponseWriter: w}
		next.ServeHTTP(held, r)
		_, _ = w.Write(held.body.Bytes())
	})
}

// withholdAll sends nothing of an answer until all of it is there.
func withholdAll(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		replay(w, answer)
	})
}

// known are the request headers of HTTP itself, as an old gateway knows them.
var known = []string{
	"Accept", "Authorization", "Connection", "Content-Length", "Content-Type", "Host", "Transfer-Encoding",
}

// stripHeaders removes what is not known: Last-Event-ID and Idempotency-Key, too.
func stripHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kept := http.Header{}
		for _, name := range known {
			if values := r.Header.Values(name); len(values) > 0 {
				kept[name] = values
			}
		}
		r.Header = kept
		next.ServeHTTP(w, r)
	})
}

// cutAt breaks off every answer that takes longer.
func cutAt(age time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), age)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// serveStale answers a GET as it answered that URL before, whatever the headers of
// either say, and like most caches it has the whole of an answer before it sends it.
func serveStale(next http.Handler) http.Handler {
	var mu sync.Mutex
	kept := map[string]*httptest.ResponseRecorder{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		mu.Lock()
		answer := kept[r.URL.String()]
		mu.Unlock()
		if answer == nil {
			answer = httptest.NewRecorder()
			next.ServeHTTP(answer, r)
			if r.Context().Err() == nil && answer.Code == http.StatusOK {
				mu.Lock()
				kept[r.URL.String()] = answer
				mu.Unlock()
			}
		}
		replay(w, answer)
	})
}
