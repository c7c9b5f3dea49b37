package culvert

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestConversation: of two clients in a room, one asks and the other's handler answers.
func TestConversation(t *testing.T) {
	transports(t, func(t *testing.T, transport Transport) {
		url := newSite(t)
		bob := dial(t, url, Options{Token: token(t, "bob", time.Hour), Transport: transport})
		alice := dial(t, url, Options{Token: token(t, "alice", time.Hour), Transport: transport})
		ctx := t.Context()
		cursor, err := bob.Join(ctx, "the lobby/1")
		if err != nil || cursor == "" {
			t.Fatal(cursor, err)
		}
		names := make(chan string, 10)
		bob.OnAny(func(_ context.Context, e *Event) (any, error) {
			names <- e.Name + " from " + e.From
			return nil, nil
		})
		bob.On("add", func(_ context.Context, e *Event) (any, error) {
			var n []int
			if err := e.Decode(&n); err != nil {
				return nil, err
			}
			return n[0] + n[1], nil
		})
		bob.On("bytes", func(_ context.Context, e *Event) (any, error) { return append(e.Binary, 3), nil })
		replied := make(chan string, 1)
		alice.On(replyEvent, func(_ context.Context, e *Event) (any, error) {
			replied <- string(e.Data)
			return nil, nil
		})
		done := listen(bob)
		replies, err := alice.EmitWithReply(ctx, Message{Event: "add", Data: []int{1, 2}, Rooms: []string{"the lobby/1"}}, Ask{Count: 1})
		if err != nil || len(replies) != 1 || string(replies[0].Data) != "3" || replies[0].From != "bob" {
			t.Errorf("replies %+v, %v", replies, err)
		}
		replies, err = alice.EmitWithReply(ctx, Message{Event: "bytes", Data: []byte{1, 2}, Rooms: []string{"the lobby/1"}}, Ask{Count: 1})
		if err != nil || len(replies) != 1 || string(replies[0].Binary) != "\x01\x02\x03" {
			t.Errorf("replies %+v, %v", replies, err)
		}
		replies, err = alice.EmitWithReply(ctx, Message{Event: "unknown", Rooms: []string{"the lobby/1"}}, Ask{Count: 1, Timeout: 50 * time.Millisecond})
		if !errors.Is(err, ErrNoReply) || len(replies) != 0 {
			t.Errorf("replies %+v, %v", replies, err)
		}
		for _, want := range []string{"add from alice", "bytes from alice", "unknown from alice"} {
			if got := get(t, names); got != want {
				t.Errorf("OnAny has %q, want %q", got, want)
			}
		}
		if _, err := bob.Leave(ctx, "the lobby/1"); err != nil {
			t.Error(err)
		}
		emit(t, alice, "the lobby/1", 0, 1)
		emit(t, alice, "@bob", 0, 1)
		if got := get(t, names); got != "n from alice" || len(names) > 0 {
			t.Errorf("after leaving: %q and %d more", got, len(names))
		}
		bob.Close()
		if err := get(t, done); err != nil {
			t.Error(err)
		}
		if _, err := bob.Emit(ctx, Message{Event: "x"}); !errors.Is(err, ErrClosed) {
			t.Errorf("emit after Close: %v", err)
		}
		if err := bob.Listen(ctx); !errors.Is(err, ErrClosed) {
			t.Errorf("listen after Close: %v", err)
		}
	})
}

// TestAcknowledge: handled events never come again; events that were not handled come again to this
// client and to the next process.
func TestAcknowledge(t *testing.T) {
	transports(t, func(t *testing.T, transport Transport) {
		url := newSite(t)
		o := Options{Client: "c", Transport: transport, Earliest: true}
		backend := dial(t, url, Options{})
		emit(t, backend, "@c", 0, 10)
		c := dial(t, url, o)
		first := newReceived(3)
		c.OnAny(func(ctx context.Context, e *Event) (any, error) {
			select {
			case <-first.all:
				return nil, fmt.Errorf("enough: %w", ErrStop)
			default:
				return first.handle(ctx, e)
			}
		})
		if err := get(t, listen(c)); !errors.Is(err, ErrStop) || err.Error() != "enough: stop listening" {
			t.Fatal(err)
		}
		first.inOrder(t, 0)
		first = newReceived(4)
		if err := get(t, listen(c)); !errors.Is(err, ErrStop) {
			t.Fatal(err)
		}
		first.inOrder(t, 3)
		o.Earliest = false
		next, rest := dial(t, url, o), newReceived(3)
		next.On("n", rest.handle)
		done := listen(next)
		rest.inOrder(t, 7)
		next.Close()
		if err := get(t, done); err != nil {
			t.Error(err)
		}
	})
}

// TestAcksAreCarried: polls acknowledge what was handled, without a separate request.
func TestAcksAreCarried(t *testing.T) {
	var posts atomic.Int32
	carried := make(chan struct{}, 1000)
	url := newSite(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/ack") {
				posts.Add(1)
			}
			if r.URL.Query().Get("ack") != "" {
				carried <- struct{}{}
			}
			next.ServeHTTP(w, r)
		})
	})
	c, got := dial(t, url, Options{Client: "c", Transport: Poll}), newReceived(50)
	c.On("n", got.handle)
	connected := make(chan Transport, 1)
	c.o.OnConnect = func(transport Transport) { connected <- transport }
	done := listen(c)
	if transport := get(t, connected); transport != Poll {
		t.Errorf("connected by %s", transport)
	}
	emit(t, dial(t, url, Options{}), "@c", 0, 50)
	got.inOrder(t, 0)
	get(t, carried)
	c.Close()
	if err := get(t, done); err != nil {
		t.Error(err)
	}
	if posts.Load() > 3 {
		t.Errorf("%d requests to acknowledge", posts.Load())
	}
}

// TestSlowHandler: while a handler takes its time, nothing is lost or repeated.
func TestSlowHandler(t *testing.T) {
	transports(t, func(t *testing.T, transport Transport) {
		url := newSite(t)
		backend := dial(t, url, Options{})
		emit(t, backend, "r", 0, 3*queued)
		c, got := dial(t, url, Options{Rooms: []string{"r"}, Earliest: true, Transport: transport}), newReceived(3*queued)
		goOn := make(chan struct{})
		entered := make(chan struct{}, 1)
		c.On("n", func(ctx context.Context, e *Event) (any, error) {
			select {
			case entered <- struct{}{}:
			default:
			}
			<-goOn
			return got.handle(ctx, e)
		})
		done := listen(c)
		get(t, entered)
		c.Wake(true) // even if the connection is cut while it waits
		close(goOn)
		got.inOrder(t, 0)
		c.Close()
		if err := get(t, done); err != nil {
			t.Error(err)
		}
	})
}

// TestGap: a cursor of another log causes a gap, which is reported at its place among the events.
func TestGap(t *testing.T) {
	transports(t, func(t *testing.T, transport Transport) {
		url := newSite(t)
		emit(t, dial(t, url, Options{}), "r", 0, 3)
		var told []string
		got := newReceived(3)
		c := dial(t, url, Options{Rooms: []string{"r"}, After: "zzzzzzzz:1", Transport: transport, OnGap: func(g Gap) {
			told = append(told, fmt.Sprintf("%s after %d events", g.Reason, len(got.data)))
		}})
		c.On("n", got.handle)
		done := listen(c)
		got.inOrder(t, 0)
		c.Close()
		if err := get(t, done); err != nil || len(told) != 1 || told[0] != "log after 0 events" {
			t.Errorf("told %q, %v", told, err)
		}
	})
}

// TestRefused: a refusal by the server ends Listen and calls at once.
func TestRefused(t *testing.T) {
	url := newSite(t)
	c := dial(t, url, Options{Token: "wrong"})
	var p *Problem
	if err := c.Listen(t.Context()); !errors.As(err, &p) || p.Status != http.StatusUnauthorized || p.Foreign {
		t.Errorf("listen: %v", err)
	}
	if _, err := c.Join(t.Context(), "r"); !errors.As(err, &p) || p.Status != http.StatusUnauthorized {
		t.Errorf("join: %v", err)
	}
	c = dial(t, url, Options{})
	if _, err := c.Emit(t.Context(), Message{Event: "culvert:x"}); !errors.As(err, &p) || p.Status != http.StatusUnprocessableEntity || p.Field != "event" {
		t.Errorf("emit: %v", err)
	}
	for _, o := range []Options{{Token: "t", TokenFunc: func(context.Context) (string, error) { return "", nil }}, {Transport: "pigeon"}} {
		if _, err := Dial(t.Context(), url, o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	for _, bad := range []string{"", "ftp://h", "http://u:p@h", "http://h?x=1", "h:80"} {
		if _, err := Dial(t.Context(), bad, Options{}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestOneListener: a second Listen at the same time is refused, and the first one ends when its
// context ends.
func TestOneListener(t *testing.T) {
	connected := make(chan Transport, 1)
	c := dial(t, newSite(t), Options{Client: "c", OnConnect: func(transport Transport) { connected <- transport }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Listen(ctx) }()
	if got := get(t, connected); got != Stream {
		t.Errorf("connected by %s", got)
	}
	if err := c.Listen(ctx); !errors.Is(err, ErrListening) {
		t.Errorf("a second Listen: %v", err)
	}
	cancel()
	if err := get(t, done); err != nil {
		t.Error(err)
	}
}
