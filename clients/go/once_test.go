package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestEmitOnce: an emit whose answer got lost is stored once; one that is not
// wanted any more ends.
func TestEmitOnce(t *testing.T) {
	c := dial(t, newSite(t, forgetful(2)), Options{})
	r, err := c.Emit(t.Context(), Message{Event: "e", Rooms: []string{"r"}})
	if err != nil || !r.Duplicate || r.Offset == 0 || r.Cursor == "" {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = c.Emit(t.Context(), Message{Event: "e", Rooms: []string{"r"}, Volatile: true}); err == nil {
		t.Errorf("a volatile event was sent again: %+v", r)
	}
	resp, err := c.Do(t.Context(), Request{Method: http.MethodGet, Path: "/rooms/r/events"})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || strings.Count(string(body), `"event":"e"`) != 1 {
		t.Errorf("stored %s, %v", body, err)
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	ctx, cancel := context.WithCancel(t.Context())
	c = dial(t, gone.URL, Options{Token: "t", OnRetry: func(error) { cancel() }})
	if _, err := c.Emit(ctx, Message{Event: "e"}); !errors.Is(err, context.Canceled) || !strings.Contains(fmt.Sprint(err), "cannot reach") {
		t.Errorf("after its context ended: %v", err)
	}
	for patience, want := range map[time.Duration]string{-1: "cannot reach", 1: "gave up after 1ns: cannot reach"} {
		c = dial(t, gone.URL, Options{Token: "t", RetryFor: patience})
		if _, err := c.Emit(t.Context(), Message{Event: "e"}); !strings.HasPrefix(fmt.Sprint(err), want) {
			t.Errorf("%v: %v", patience, err)
		}
	}
}
