package reach

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// refusal is a proxy's own answer.
type refusal struct {
	status int
	kind   string // Content-Type
	body   string
}

func (p refusal) send(w http.ResponseWriter) {
	w.Header().Set("Content-Type", p.kind)
	w.WriteHeader(p.status)
	_, _ = w.Write([]byte(p.body))
}

// likeAPIGateway sends an answer when it is complete, or says that it took
// too long.
func likeAPIGateway(limit time.Duration, next http.Handler) http.Handler {
	late := refusal{http.StatusGatewayTimeout, "application/json", `{"message": "Endpoint request timed out"}`}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		answer := httptest.NewRecorder()
		if complete := serveWhole(next, answer, r.WithContext(ctx)); complete && ctx.Err() == nil {
			replay(w, answer)
		} else {
			late.send(w)
		}
	})
}

// serveWhole reports whether the answer was complete. A balancer panics if it
// was not.
func serveWhole(next http.Handler, w http.ResponseWriter, r *http.Request) (complete bool) {
	defer func() {
		p := recover()
		if err, ok := p.(error); p != nil && (!ok || !errors.Is(err, http.ErrAbortHandler)) {
			panic(p)
		}
	}()
	next.ServeHTTP(w, r)
	return true
}

// impatient answers itself when nothing came within the first of its limits, and
// cuts the answer off when nothing more comes within the second.
type impatient struct {
	first, idle time.Duration
	late        refusal
}

var errSilent = errors.New("nothing came")

func (i impatient) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		a := &awaited{ResponseWriter: w, idle: i.idle}
		a.timer = time.AfterFunc(i.first, func() {
			a.giveUp()
			cancel()
		})
		defer a.timer.Stop()
		next.ServeHTTP(a, r.WithContext(ctx)) // panics if the answer was cut, as it should
		if a.lacking() {
			i.late.send(w)
		}
	})
}

// awaited is an answer that must begin soon, and must not pause for too long.
type awaited struct {
	http.ResponseWriter
	idle  time.Duration
	timer *time.Timer

	mu    sync.Mutex
	began bool
	over  bool // nothing more may pass
}

func (a *awaited) giveUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
}

func (a *awaited) WriteHeader(status int) {
	if a.goesOn() {
		a.ResponseWriter.WriteHeader(status)
	}
}

func (a *awaited) Write(b []byte) (int, error) {
	if !a.goesOn() {
		return 0, errSilent
	}
	return a.ResponseWriter.Write(b)
}

// FlushError is called by http.ResponseController.
func (a *awaited) FlushError() error {
	if !a.goesOn() {
		return errSilent
	}
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// goesOn gives the answer more time, unless that is over.
func (a *awaited) goesOn() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.over {
		a.began = true
		a.timer.Reset(a.idle)
	}
	return !a.over
}

// lacking reports whether the answer never began.
func (a *awaited) lacking() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.over && !a.began
}
