package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/culvertmq/culvert/api/internal/apitest"
)

// sseStream is an open stream. It is read frame by frame, as the HTML standard says.
type sseStream struct {
	t      testing.TB
	res    *http.Response
	parser *apitest.Parser
	cancel context.CancelFunc
}

func (s *sseStream) close() {
	s.cancel()
	s.res.Body.Close()
}

// next returns the next frame that is not a heartbeat: heartbeats come whenever the stream was silent for a
// second.
func (s *sseStream) next() apitest.Frame {
	s.t.Helper()
	f := s.frame()
	for f.Event == "culvert:heartbeat" {
		f = s.frame()
	}
	return f
}

// frame returns the next frame of any type.
func (s *sseStream) frame() apitest.Frame {
	s.t.Helper()
	f, err := s.parser.Next()
	if err != nil {
		s.t.Fatalf("reading a frame: %v", err)
	}
	checkFrame(s.t, f)
	return f
}

// expect returns the next frame, which must be of this type. Heartbeats are skipped
// unless one is expected.
func (s *sseStream) expect(event string) apitest.Frame {
	s.t.Helper()
	next := s.next
	if event == "culvert:heartbeat" {
		next = s.frame
	}
	f := next()
	if f.Event != event {
		s.t.Fatalf("frame %+v, want %s", f, event)
	}
	return f
}

// ends checks that no more frames follow.
func (s *sseStream) ends() {
	s.t.Helper()
	if f, err := s.parser.Next(); !errors.Is(err, io.EOF) {
		s.t.Errorf("after the last frame: %+v, %v", f, err)
	}
}

// payload returns the field "data" of an event frame.
func payload(t testing.TB, f apitest.Frame) string {
	t.Helper()
	var e struct{ Data json.RawMessage }
	if err := json.Unmarshal([]byte(f.Data), &e); err != nil {
		t.Fatalf("%v in %q", err, f.Data)
	}
	return string(e.Data)
}
