package culvert

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/api"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

const (
	testKey = "the-key-of-backends"
	// patience is how long a test waits for something that must happen.
	patience = 30 * time.Second
)

var testSecret = []byte("0123456789abcdef0123456789abcdef")

// way is what a test puts between the client and the server.
type way func(next http.Handler) http.Handler

// newSite serves a real log on a database of its own and returns its URL.
func newSite(t *testing.T, on ...way) string {
	t.Helper()
	q, err := queue.Open(t.Context(), queue.Options{DatabaseURL: pgtest.Database(t), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h, err := api.New(q, api.Options{APIKeys: []string{testKey}, JWTSecret: testSecret, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var handler http.Handler = h
	for _, w := range on {
		handler = w(handler)
	}
	server := httptest.NewUnstartedServer(handler)
	h.ConfigureServer(server.Config)
	server.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		h.Drain()
		if err := h.Wait(ctx); err != nil {
			t.Error(err)
		}
		server.Close()
		h.Close()
		if err := q.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return server.URL
}

// token returns a token of a client that may do everything; life is how long it is valid.
func token(t *testing.T, sub string, life time.Duration) string {
	t.Helper()
	now := time.Now()
	signed, err := api.SignToken(testSecret, api.Claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject: sub, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(life)),
		},
		Rooms: []string{"*"}, Emit: []string{"*", "@*"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// dial makes a client that is closed with the test.
func dial(t *testing.T, url string, o Options) *Client {
	t.Helper()
	if o.Token == "" && o.TokenFunc == nil {
		o.Token = testKey
	}
	c, err := Dial(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	c.hello = time.Second
	t.Cleanup(c.Close)
	return c
}

// listen runs Listen in a goroutine and returns a channel with its result.
func listen(c *Client) <-chan error {
	result := make(chan error, 1)
	go func() { result <- c.Listen(context.Background()) }()
	return result
}

// get waits for a value.
func get[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("no value arrived in time")
		panic("unreachable")
	}
}

// received is what a client received, in order.
type received struct {
	mu   sync.Mutex
	data []int
	all  chan struct{} // closed when `want` have come
	want int
}

func newReceived(want int) *received { return &received{want: want, all: make(chan struct{})} }

func (r *received) handle(_ context.Context, e *Event) (any, error) {
	var n int
	if err := json.Unmarshal(e.Data, &n); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.data = append(r.data, n); len(r.data) == r.want {
		close(r.all)
	}
	return nil, nil
}

// inOrder waits for all of them and checks that they are first, first+1, … and nothing else.
func (r *received) inOrder(t *testing.T, first int) {
	t.Helper()
	select {
	case <-r.all:
	case <-time.After(patience):
		t.Errorf("not all events arrived in time")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, n := range r.data {
		if n != first+i || len(r.data) != r.want {
			t.Fatalf("the client received %v, want %d from %d on", r.data, r.want, first)
		}
	}
	if len(r.data) != r.want {
		t.Fatalf("the client received %v, want %d", r.data, r.want)
	}
}

// emit emits numbers to a room.
func emit(t *testing.T, c *Client, room string, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if _, err := c.Emit(t.Context(), Message{Event: "n", Data: n, Rooms: []string{room}}); err != nil {
			t.Fatal(err)
		}
	}
}

// transports runs a test over each transport.
func transports(t *testing.T, f func(t *testing.T, transport Transport)) {
	for _, transport := range []Transport{Stream, Poll} {
		t.Run(string(transport), func(t *testing.T) { f(t, transport) })
	}
}
