package culvert

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestAckOrder: a position is acknowledged when everything up to it was handled,
// in whatever order handlers finish.
func TestAckOrder(t *testing.T) {
	a := newAcker(Options{}, nil, place{})
	var parts []*part
	for n := range int64(4) {
		parts = append(parts, a.begin(place{"k", fmt.Sprintf("k:%d", n+1), n + 1}, n != 3))
	}
	for _, c := range []struct {
		finish int
		want   string
	}{{1, ""}, {0, "k:2"}, {3, "k:2"}, {2, "k:4"}} {
		a.finish(parts[c.finish])
		if got := a.carry(); got != c.want || a.position().cursor != c.want {
			t.Fatalf("after part %d: acknowledges %q, is at %+v, want %q", c.finish, got, a.position(), c.want)
		}
	}
	a.confirm("k:2") // a later position is pending by now
	if a.carry() != "k:4" || !a.owed {
		t.Error("the newest position was forgotten")
	}
	a.confirm("k:4")
	if a.carry() != "" || a.owed {
		t.Error("the acker acknowledges an acknowledged position again")
	}
}

// TestRepeats: events that a server or proxy sends again are ignored; offsets of another log
// are compared anew.
func TestRepeats(t *testing.T) {
	frame := func(log string, n int) string {
		return fmt.Sprintf("id: %s:%d\nevent: n\ndata: {\"offset\":%d,\"room\":\"r\",\"event\":\"n\",\"data\":%d}\n\n", log, n, n, n)
	}
	hello := func(log string) string {
		return "event: culvert:hello\ndata: {\"log\":\"" + log + "\",\"heartbeat\":15}\n\n"
	}
	answers := make(chan string, 4)
	answers <- hello("k") + frame("k", 1) + frame("k", 2) + frame("k", 2)
	answers <- hello("k") + frame("k", 1) + frame("k", 2) + frame("k", 3) + "event: culvert:reconnect\ndata: {\"after\":0}\n\n"
	answers <- hello("j") + frame("j", 1) + "event: culvert:later\ndata: ?\n\n"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case text := <-answers:
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = w.Write([]byte(text))
		default:
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	got := make(chan string, 10)
	c := dial(t, server.URL, Options{NoAck: true, Transport: Stream})
	c.OnAny(func(_ context.Context, e *Event) (any, error) {
		got <- string(e.Data)
		return nil, nil
	})
	done := listen(c)
	for _, want := range []string{"1", "2", "3", "1"} {
		if data := get(t, got); data != want {
			t.Errorf("the client received %s, want %s", data, want)
		}
	}
	c.Close()
	if err := get(t, done); err != nil || len(got) > 0 {
		t.Errorf("%v, %d more", err, len(got))
	}
}

// TestShortPollsCarry: polls that are not held acknowledge what the polls before them brought.
func TestShortPollsCarry(t *testing.T) {
	var posts atomic.Int32
	url := newSite(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/ack") {
				posts.Add(1)
			}
			next.ServeHTTP(w, r)
		})
	})
	saveVerdict(url, verdict{transport: Poll, retryStreamAt: time.Now().Add(time.Hour)})
	connected := make(chan Transport, 10)
	c := dial(t, url, Options{Client: "alice", OnConnect: func(transport Transport) { connected <- transport }})
	all := newReceived(6)
	c.On("n", all.handle)
	result := listen(c)
	if transport := get(t, connected); transport != Poll {
		t.Fatalf("connected by %s", transport)
	}
	backend := dial(t, url, Options{})
	for n := range 6 {
		if _, err := backend.Emit(t.Context(), Message{Event: "n", Data: n}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(ackPause) // so that each event comes by a poll of its own
	}
	all.inOrder(t, 0)
	for deadline := time.Now().Add(patience); behind(t, backend, "alice") > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the events were not acknowledged in time")
		}
	}
	if n := posts.Load(); n > 0 {
		t.Errorf("%d acknowledgements by requests of their own", n)
	}
	c.Close()
	if err := get(t, result); err != nil {
		t.Error(err)
	}
}

// behind returns how many events a client has not acknowledged.
func behind(t *testing.T, c *Client, name string) (lag int) {
	t.Helper()
	resp, err := c.Do(t.Context(), Request{Method: http.MethodGet, Path: "/clients/" + name, Accept: "application/json"})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var state struct{ Lag *int }
	if err := json.NewDecoder(resp.Body).Decode(&state); err != nil || state.Lag == nil {
		t.Fatalf("%v, %v", state.Lag, err)
	}
	return *state.Lag
}
