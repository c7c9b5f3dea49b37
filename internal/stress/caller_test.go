package stress

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// caller makes requests, each to a random instance.
type caller struct {
	s    *soak
	http *http.Client
	rnd  *rand.Rand
}

func (s *soak) caller(worker int) *caller {
	return &caller{s: s, rnd: s.rand(worker), http: &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}}
}

func (c *caller) close() { c.http.CloseIdleConnections() }

// base is the address of one of the instances.
func (c *caller) base() string { return c.s.instances[c.rnd.IntN(len(c.s.instances))].url }

// try makes a request once. The request is finished even if ctx ends
// meanwhile.
func (c *caller) try(ctx context.Context, method, path, kind, body string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base()+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	if body != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, text, err
}

// answer is the outcome of a request.
type answer struct {
	status int
	text   []byte
	tries  int
}

func (a answer) ok() bool { return a.status == http.StatusOK || a.status == http.StatusCreated }

// insist repeats a request until the answer is not 503. Refused
// and cut connections and 503 are expected during faults; 500 never is.
func (c *caller) insist(ctx context.Context, method, path, body string) (a answer) {
	for deadline := time.Now().Add(time.Minute); ; c.pause(ctx, 60) {
		a.tries++
		status, text, err := c.try(ctx, method, path, "application/json", body)
		switch {
		case err != nil, status == http.StatusServiceUnavailable:
			c.s.verdict.count("requests repeated", 1)
		case status >= 500:
			c.s.verdict.breaks("no answer is 500", "%s %s: %d %s", method, path, status, text)
		default:
			a.status, a.text = status, text
			return a
		}
		if ctx.Err() != nil {
			return a
		}
		if time.Now().After(deadline) {
			c.s.verdict.breaks("a request is answered within a minute", "%s %s: last %d %s %v", method, path, status, text, err)
			return a
		}
	}
}

// pause waits up to ms milliseconds.
func (c *caller) pause(ctx context.Context, ms int) {
	rest(ctx, time.Duration(c.rnd.IntN(ms)+1)*time.Millisecond)
}
