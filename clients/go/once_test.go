package culvert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestEmitOnce: an emit whose answer was lost is stored once; an emit whose context
// has ended is given up.
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
		t.Errorf("the history is %s, %v", body, err)
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

// TestSlowToken: the time that getting a token takes does not count against the stream.
func TestSlowToken(t *testing.T) {
	t.Parallel()
	connected := make(chan Transport, 10)
	var calls atomic.Int32
	c := dial(t, newSite(t), Options{
		TokenFunc: func(ctx context.Context) (string, error) {
			switch calls.Add(1) {
			case 1:
				return "refused", nil
			case 2: // to Listen, which had to drop the first one
				return "", errors.New("no network")
			}
			pause(ctx, 2500*time.Millisecond) // more than a stream gets here
			return token(t, "bob", time.Hour), nil
		},
		OnConnect: func(transport Transport) { connected <- transport },
		OnLost: func(err error) {
			if errors.Is(err, errNoHello) || errors.Is(err, errLate) {
				t.Errorf("the transport counts as failed: %v", err)
			}
		},
	})
	c.requests.tokens.expire(t.Context())
	done := listen(c)
	if transport := get(t, connected); transport != Stream {
		t.Errorf("connected by %s", transport)
	}
	c.Close()
	if err := get(t, done); err != nil {
		t.Error(err)
	}
}
