package culvert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// callTime is how long a request that is not repeated may take.
const callTime = 20 * time.Second

// callPatience is how long a request that is repeated may take, after a number of failures and with a
// body of size bytes. It is short at first, because the connection may be silently dead, and longer
// after failures, because the connection may only be slow.
func callPatience(failures, size int) time.Duration {
	return min(4*time.Second<<min(failures, 5)+time.Duration(size)*100*time.Microsecond, time.Minute)
}

// Request is one request below /v1/{namespace}.
type Request struct {
	Method string
	Path   string // such as /rooms/lobby/events
	Query  url.Values
	Accept string
	Type   string // of the body; empty: application/json
	Body   []byte
}

// requests makes the requests of one client.
type requests struct {
	o      Options
	base   string // …/v1/{namespace}
	http   *http.Client
	tokens *tokens
	closed atomic.Bool // no request may begin
}

// do sends one request, as Client.Do says.
func (q *requests) do(ctx context.Context, r Request) (*http.Response, error) {
	if q.closed.Load() {
		return nil, ErrClosed
	}
	if hasDots(r.Path) {
		return nil, fmt.Errorf("path %s: %w", r.Path, ErrName)
	}
	token, err := q.tokens.get(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := q.send(ctx, r, token)
	var p *Problem
	if !errors.As(err, &p) || p.Status != http.StatusUnauthorized || !p.Foreign && p.Temporary() {
		return resp, err // a token that is not valid yet becomes valid; a newer one would do so later
	}
	fresh, renewErr := q.tokens.renew(ctx, token)
	if renewErr != nil {
		return nil, renewErr
	}
	if fresh == token {
		return nil, err
	}
	return q.send(ctx, r, fresh)
}

// hasDots reports whether a segment of a path is "." or "..", also percent-encoded:
// a proxy that resolves the URL would turn it into another request.
func hasDots(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		name, err := url.PathUnescape(segment)
		if err == nil && isDots(name) {
			return true
		}
	}
	return false
}

func (q *requests) send(ctx context.Context, r Request, token string) (*http.Response, error) {
	query := maps.Clone(r.Query)
	if q.o.Client != "" {
		if query == nil {
			query = url.Values{}
		}
		query.Set("client", q.o.Client)
	}
	target := q.base + r.Path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, bytes.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if r.Accept != "" {
		req.Header.Set("Accept", r.Accept)
	}
	if r.Type == "" {
		r.Type = "application/json"
	}
	if r.Body != nil {
		req.Header.Set("Content-Type", r.Type)
	}
	resp, err := q.http.Do(req)
	var where *url.Error
	if errors.As(err, &where) { // its text contains the query
		return nil, fmt.Errorf("cannot reach %s: %w", req.URL.Host, where.Err)
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, readProblem(resp)
}

// call sends one request and reads the JSON of its answer into answer.
func (q *requests) call(parent context.Context, r Request, patience time.Duration, answer any) error {
	ctx, cancel := context.WithTimeoutCause(parent, patience, errLate)
	defer cancel()
	resp, err := q.do(ctx, r)
	if err == nil {
		defer resp.Body.Close()
		var body []byte
		if body, err = io.ReadAll(resp.Body); err == nil {
			if json.Unmarshal(body, answer) != nil {
				return foreign("it is not the JSON that was asked for")
			}
			return nil
		}
	}
	if errors.Is(context.Cause(ctx), errLate) {
		q.http.CloseIdleConnections() // idle ones may be dead, too, and would be used next
		return errLate
	}
	return err
}

// postJSON posts a body and ignores the body of the answer.
func (q *requests) postJSON(ctx context.Context, path string, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	var answer struct{}
	return q.call(ctx, Request{Method: http.MethodPost, Path: path, Body: raw}, callTime, &answer)
}

// retry repeats attempt, as Client.Retry says.
func (q *requests) retry(ctx context.Context, attempt func() error) error {
	began := time.Now()
	for failures := 0; ; failures++ {
		err := attempt()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case q.final(err), q.o.RetryFor < 0:
			return err
		}
		wait := max(backoff(rand.Float64, failures), askedFor(err))
		if q.o.RetryFor > 0 && time.Since(began)+wait > q.o.RetryFor {
			return fmt.Errorf("gave up after %v: %w", q.o.RetryFor, err)
		}
		if failures == 0 {
			q.o.OnRetry(err)
		}
		if pause(ctx, wait); ctx.Err() != nil {
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// insist repeats a request until it is answered, as retry does.
func (q *requests) insist(ctx context.Context, r Request, answer any) error {
	failures := 0
	return q.retry(ctx, func() error {
		d := callTime
		if q.o.RetryFor >= 0 {
			d = callPatience(failures, len(r.Body))
		}
		failures++
		return q.call(ctx, r, d, answer)
	})
}

// final reports whether another try cannot help.
func (q *requests) final(err error) bool { return !temporary(err) || q.o.GiveUp(err) }
