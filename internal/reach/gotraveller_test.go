package reach

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	culvert "github.com/culvertmq/culvert/clients/go"
)

// beTraveller makes the test binary do the same as testdata/client.ts, with the Go client.
const beTraveller = "REACH_BE_TRAVELLER"

// goTraveller records what it sees. Listen and its callbacks, the emits, and each
// request run in goroutines of their own.
type goTraveller struct {
	orders
	began time.Time
	all   chan struct{}

	mu    sync.Mutex
	saw   report
	heard map[int]bool
}

// beClient follows the orders in text, and reports on stdout what it saw.
func beClient(text string) int {
	g := &goTraveller{began: time.Now(), all: make(chan struct{}), heard: map[int]bool{}}
	err := json.Unmarshal([]byte(text), &g.orders)
	if err == nil {
		err = g.travel()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (g *goTraveller) travel() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	way := &http.Transport{}
	if g.Forward != nil {
		way.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: fmt.Sprintf("%s:%d", g.Forward.Host, g.Forward.Port)})
	}
	c, err := culvert.Dial(ctx, g.URL, culvert.Options{
		Token: g.Token, Transport: culvert.Transport(g.Transport), HTTP: &http.Client{Transport: &witness{way, g}},
		OnConnect: func(t culvert.Transport) { g.note(&g.saw.Transports, string(t)) },
		OnLost:    func(error) { g.note(&g.saw.Transports, "lost") },
		OnError:   func(err error) { g.note(&g.saw.Errors, err.Error()) },
		OnGap:     func(gap culvert.Gap) { g.note(&g.saw.Errors, fmt.Sprintf("gap %v", gap)) },
	})
	if err != nil {
		return err
	}
	defer c.Close()
	c.On("down", g.receive)
	listened := make(chan error, 1)
	go func() { listened <- c.Listen(ctx) }()
	if err := g.emit(ctx, c); err != nil {
		return err
	}
	select {
	case <-g.all:
	case err := <-listened:
		return fmt.Errorf("listen: %w", err)
	}
	time.Sleep(500 * time.Millisecond) // for events that should not come
	g.mu.Lock()
	defer g.mu.Unlock()
	return say(g.saw)
}

// emit sends one event after the other: each is stored before the next is sent.
func (g *goTraveller) emit(ctx context.Context, c *culvert.Client) error {
	for n := range g.Count {
		if n == g.Count/2 {
			time.Sleep(time.Duration(g.Silence) * time.Millisecond)
		}
		if _, err := c.Emit(ctx, culvert.Message{Event: "up", Rooms: []string{g.Room}, Data: n}); err != nil {
			return fmt.Errorf("emit %d: %w", n, err)
		}
		time.Sleep(time.Duration(g.Pace) * time.Millisecond)
	}
	return nil
}

func (g *goTraveller) receive(_ context.Context, e *culvert.Event) (any, error) {
	var data struct {
		N  int
		At int64
	}
	if err := e.Decode(&data); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.saw.Received) == 0 {
		first := int(time.Since(g.began).Milliseconds())
		if err := say(report{First: &first}); err != nil {
			return nil, err
		}
	} else {
		g.saw.Delays = append(g.saw.Delays, int(time.Now().UnixMilli()-data.At)) // the first event waited for this client
	}
	g.saw.Received = append(g.saw.Received, data.N)
	if g.heard[data.N] {
		return nil, nil // the report shows it
	}
	if g.heard[data.N] = true; len(g.heard) == g.Count {
		close(g.all)
	}
	return nil, nil
}

func (g *goTraveller) note(where *[]string, what string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	*where = append(*where, what)
}

func say(r report) error { return json.NewEncoder(os.Stdout).Encode(r) }

// witness observes the requests to receive.
type witness struct {
	http.RoundTripper
	g *goTraveller
}

func (w *witness) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		return w.RoundTripper.RoundTrip(r)
	}
	w.asked(r.URL.Query().Get("wait"))
	answer, err := w.RoundTripper.RoundTrip(r)
	if err == nil && answer.StatusCode != http.StatusOK {
		w.g.mu.Lock()
		defer w.g.mu.Unlock()
		w.g.saw.Refused = append(w.g.saw.Refused, answer.StatusCode)
	}
	return answer, err
}

func (w *witness) asked(wait string) {
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	w.g.saw.Asked++
	if s, err := strconv.ParseFloat(wait, 64); err == nil && !slices.Contains(w.g.saw.Waits, s) {
		w.g.saw.Waits = append(w.g.saw.Waits, s)
	}
}
