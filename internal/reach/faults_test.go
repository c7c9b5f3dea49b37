package reach

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
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

// withholdBodies sends headers at once and a body when it is complete.
func withholdBodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		held := &heldBody{ResponseWriter: w}
		next.ServeHTTP(held, r)
		_, _ = w.Write(held.body.Bytes())
	})
}

// withholdAll sends nothing of an answer until it is complete.
func withholdAll(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		replay(w, answer)
	})
}

// heldPiece holds the last piece of an answer until the next piece, or the end.
type heldPiece struct {
	http.ResponseWriter
	piece []byte
}

func (h *heldPiece) Write(b []byte) (int, error) {
	err := h.release(len(h.piece))
	h.piece = append(h.piece[:0], b...)
	return len(b), err
}

// release passes on the first n held bytes.
func (h *heldPiece) release(n int) error {
	if n <= 0 {
		return nil
	}
	_, err := h.ResponseWriter.Write(h.piece[:n])
	h.piece = append(h.piece[:0], h.piece[n:]...)
	return errors.Join(err, http.NewResponseController(h.ResponseWriter).Flush())
}

func (h *heldPiece) WriteHeader(status int) {
	h.ResponseWriter.WriteHeader(status)
	_ = http.NewResponseController(h.ResponseWriter).Flush()
}

// holdEach passes on each piece of an answer when the next one comes.
func holdEach(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		held := &heldPiece{ResponseWriter: w}
		next.ServeHTTP(held, r)
		_ = held.release(len(held.piece))
	})
}

// heldEnd holds the last bytes of an answer until more come, or the end.
type heldEnd struct {
	heldPiece
	most int
}

func (h *heldEnd) Write(b []byte) (int, error) {
	h.piece = append(h.piece, b...)
	return len(b), h.release(len(h.piece) - h.most)
}

// holdLast holds the last bytes of an answer until more come.
func holdLast(most int, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		held := &heldEnd{heldPiece{ResponseWriter: w}, most}
		next.ServeHTTP(held, r)
		_ = held.release(len(held.piece))
	})
}

// leavesTheStream proves that the client did not stay on a stream.
func leavesTheStream(t *testing.T, r result) {
	t.Helper()
	if !slices.Contains(r.Transports, "poll") {
		t.Errorf("the transports were %v", r.Transports)
	}
}

// known are the request headers of HTTP itself, which an old gateway knows.
var known = []string{
	"Accept", "Authorization", "Connection", "Content-Length", "Content-Type", "Host", "Transfer-Encoding",
}

// stripHeaders removes unknown headers, also Last-Event-ID and Idempotency-Key.
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

// cutAt breaks off every answer that takes longer than age.
func cutAt(age time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), age)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// serveStale answers a GET as it answered that URL before, whatever the headers of
// both say. Like most caches it sends only complete answers.
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
