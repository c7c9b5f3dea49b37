package culvert

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

const (
	pingAfter    = 5 * time.Second // of silence on a connection of HTTP/2
	pingPatience = 4 * time.Second
)

// Client is one client of a namespace. All its methods may be called by any
// goroutine at any time.
type Client struct {
	o      Options
	base   string // …/v1/{namespace}
	origin string
	http   *http.Client
	tokens *tokens
	ours   bool          // the HTTP client
	hello  time.Duration // a stream has at least so long for its first frame

	mu       sync.Mutex
	closing  bool                 // no new Listen
	closed   bool                 // nothing at all
	handlers map[string][]Handler // by event; "" is for all
	follower *follower            // of the Listen under way
	cancel   context.CancelFunc   // ends it
	ended    chan struct{}        // closed when it has ended
	handled  place                // where the last one ended
}

// Dial makes a client of the server at a URL such as https://culvert.example. It
// gets the token, where that takes a call, but does not connect: Listen does, once
// the handlers are there, and each call when it is made. ctx is for Dial alone.
func Dial(ctx context.Context, address string, o Options) (*Client, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	base, origin, err := parseBase(address, o.Namespace)
	if err != nil {
		return nil, err
	}
	c := &Client{
		o: o, base: base, origin: origin, http: o.HTTP,
		tokens:   newTokens(o),
		hello:    helloTime,
		handlers: map[string][]Handler{},
		handled:  place{cursor: o.After},
	}
	if c.http == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // documented
		// To give up a request does not end a connection of HTTP/2 that died without a
		// word, and the next request would go by it, too: pings do.
		transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingPatience}
		c.http, c.ours = &http.Client{Transport: transport}, true
	}
	if _, err := c.tokens.get(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends Listen, waits until it has acknowledged what was handled and
// returned, and lets go of idle connections. A handler must not call it; it
// returns ErrStop.
func (c *Client) Close() {
	c.mu.Lock()
	c.closing = true
	cancel, ended := c.cancel, c.ended
	c.mu.Unlock()
	if cancel != nil {
		cancel()
		<-ended
	}
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	if c.ours {
		c.http.CloseIdleConnections()
	}
}

// Wake has Listen connect anew at once: after sleep, or, where moved, on another
// network. Nothing tells a program of this kind when a phone's connections died.
func (c *Client) Wake(moved bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.follower != nil {
		c.follower.wakeUp(moved)
	}
}

// Join joins a room, lastingly: the events after the cursor are for this client,
// until it leaves.
func (c *Client) Join(ctx context.Context, room string) (cursor string, err error) {
	return c.member(ctx, http.MethodPut, room)
}

// Leave leaves a room. The events up to the cursor are still for this client.
func (c *Client) Leave(ctx context.Context, room string) (cursor string, err error) {
	return c.member(ctx, http.MethodDelete, room)
}

func (c *Client) member(ctx context.Context, method, room string) (string, error) {
	var answer struct {
		Cursor string `json:"cursor"`
	}
	r := Request{Method: method, Path: "/rooms/" + url.PathEscape(room) + "/clients/me"}
	err := c.insist(ctx, r, &answer)
	return answer.Cursor, err
}

// handlersOf returns the handlers of an event, those for all last.
func (c *Client) handlersOf(event string) []Handler {
	c.mu.Lock()
	defer c.mu.Unlock()
	some := slices.Clone(c.handlers[event])
	if event == replyEvent {
		return some
	}
	return append(some, c.handlers[""]...)
}
