package api

import (
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"
)

// slowToEnd is a writer whose SetWriteDeadline blocks until the test allows it to return. Its client does not
// read.
type slowToEnd struct {
	*httptest.ResponseRecorder
	writing, ending, ended chan struct{}
	once                   sync.Once
}

func (w *slowToEnd) Write([]byte) (int, error) {
	w.once.Do(func() { close(w.writing) })
	<-w.ended
	return 0, os.ErrDeadlineExceeded
}

// SetWriteDeadline is for http.ResponseController.
func (w *slowToEnd) SetWriteDeadline(t time.Time) error {
	if t.Before(time.Now()) {
		close(w.ending)
		<-w.ended
	}
	return nil
}

// TestNobodyWaitsForWhoIsCutOff: with HTTP/2, cutting off waits for the goroutine of the connection. Meanwhile
// other requests must not wait.
func TestNobodyWaitsForWhoIsCutOff(t *testing.T) {
	s := siteOf(t, inMemory(&memory{}), limited(Limits{AnonymousAddress: 1}))
	visit := func(w http.ResponseWriter, path string) chan struct{} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { _ = recover() }() // http.ErrAbortHandler: the answer is cut off
			s.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		}()
		return done
	}
	first := &slowToEnd{httptest.NewRecorder(), make(chan struct{}), make(chan struct{}), make(chan struct{}), sync.Once{}}
	firstDone := visit(first, "/openapi.yaml")
	<-first.writing
	secondDone := visit(httptest.NewRecorder(), "/livez")
	<-first.ending // the second request causes this
	select {
	case <-visit(httptest.NewRecorder(), "/livez"):
	case <-time.After(10 * time.Second):
		t.Error("a probe waits while another request is being cut off")
	}
	close(first.ended)
	<-firstDone
	<-secondDone
}
