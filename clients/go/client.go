package culvert

import (
	"context"
	"net/http"
	"net/url"
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
	o        Options
	origin   string
	requests *requests
	handlers *handlers
	ours     bool          // Dial made the HTTP client
	hello    time.Duration // the least time that a stream has for its first frame

	mu       sync.Mutex
	closing  bool               // no new Listen may begin
	follower *follower          // of the Listen under way
	cancel   context.CancelFunc // ends that Listen
	ended    chan struct{}      // closed when that Listen has ended
	handled  place              // where the last Listen ended
}

// Dial makes a client of the server at a URL such as https://culvert.example. It
// calls TokenFunc, if there is one, but does not connect: Listen connects when
// the handlers are registered, and each call when it is made. ctx is only for Dial.
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
		o: o, origin: origin, hello: helloTime, handled: place{cursor: o.After},
		requests: &requests{o: o, base: base, http: o.HTTP, tokens: newTokens(o)},
		handlers: &handlers{of: map[string][]Handler{}},
	}
	if o.HTTP == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // documented
		// Giving up a request does not end a silently dead HTTP/2 connection, and the
		// next request would use it, too. Pings end it.
		transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingPatience}
		c.requests.http, c.ours = &http.Client{Transport: transport}, true
	}
	if _, err := c.requests.tokens.get(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends Listen, waits until Listen has acknowledged what was handled and
// returned, and closes idle connections. A handler must not call Close; it
// returns ErrStop instead.
func (c *Client) Close() {
	c.mu.Lock()
	c.closing = true
	cancel, ended := c.cancel, c.ended
	c.mu.Unlock()
	if cancel != nil {
		cancel()
		<-ended
	}
	c.requests.closed.Store(true)
	if c.ours {
		c.requests.http.CloseIdleConnections()
	}
}

// Wake makes Listen connect anew at once: after sleep, or, if moved, on another
// network. Otherwise a program on a phone does not notice that its connections died.
func (c *Client) Wake(moved bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.follower != nil {
		c.follower.wakeUp(moved)
	}
}

// Join joins a room until the client leaves it: the events after the cursor are for this
// client.
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
	err := c.requests.insist(ctx, r, &answer)
	return answer.Cursor, err
}

// Do sends one request for which this package has no method. Any answer but a
// 2xx is returned as a *Problem; the caller closes the body of a 2xx. If the token is refused, Do gets
// another one and sends the request again, once, unless the token is only not valid yet.
func (c *Client) Do(ctx context.Context, r Request) (*http.Response, error) {
	return c.requests.do(ctx, r)
}

// Retry calls attempt until it succeeds or is refused, ctx ends, or Options.RetryFor or GiveUp
// end it. It waits longer each time, and at least as long as the server
// asks.
func (c *Client) Retry(ctx context.Context, attempt func() error) error {
	return c.requests.retry(ctx, attempt)
}
