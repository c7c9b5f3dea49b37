package cmd

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// client speaks to a server for emit and listen.
type client struct {
	base  string // …/v1/{namespace}
	token string
	id    string // the client an API key acts for; empty: the token's own
	http  *http.Client
	// warn tells the person at the terminal what is being waited for.
	warn func(format string, args ...any)
}

// newRequest makes an authorised request to a path of the namespace.
func (c *client) newRequest(ctx context.Context, method, path string, query url.Values, body []byte) (*http.Request, error) {
	if c.id != "" {
		query.Set("client", c.id)
	}
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// do sends a request. Any answer but a 2xx is a *statusError. The caller closes
// the body.
func (c *client) do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	var where *url.Error
	if errors.As(err, &where) {
		return nil, fmt.Errorf("cannot reach %s: %w", req.URL.Host, where.Err)
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	e := &statusError{code: resp.StatusCode, after: retryAfter(resp.Header, time.Now())}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil || json.Unmarshal(body, &e.problem) != nil {
		e.problem = problem{} // not ours: a proxy's page says nothing to a terminal
	}
	return nil, e
}

// postJSON posts a body and returns the answer's.
func (c *client) postJSON(ctx context.Context, path string, body []byte) ([]byte, error) {
	req, err := c.newRequest(ctx, http.MethodPost, path, url.Values{}, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// retry calls attempt until it succeeds, fails for good, or patience has passed
// since the last success.
func (c *client) retry(ctx context.Context, patience time.Duration, attempt func() error) error {
	wait := backoff{base: 250 * time.Millisecond, limit: 5 * time.Second}
	deadline := time.Now().Add(patience)
	for {
		err := attempt()
		if err == nil || ctx.Err() != nil || !temporary(err) {
			return err
		}
		next := wait.next(askedFor(err))
		if time.Now().Add(next).After(deadline) {
			if patience > 0 {
				err = fmt.Errorf("gave up after %v: %w", patience, err)
			}
			return err
		}
		if wait.tries == 1 {
			c.warn("%v; trying again for up to %v", err, patience)
		}
		pause(ctx, next)
	}
}

// problem is the part of an RFC 9457 answer a person wants to see.
type problem struct {
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Field  string `json:"field"`
}

// String is the detail, or what stands in for it.
func (p problem) String() string {
	if p.Detail != "" {
		return printable(p.Detail)
	}
	return printable(p.Title)
}

// statusError is an answer that is not a success.
type statusError struct {
	code    int
	after   time.Duration // Retry-After
	problem problem
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("the server answered %d %s", e.code, http.StatusText(e.code))
	if said := e.problem.String(); said != "" {
		text += ": " + said
	}
	switch e.code {
	case http.StatusUnauthorized:
		text += "; give a token or API key with --token, --token-file or " + envToken
	case http.StatusNotFound:
		text += "; check --url and --namespace"
	}
	return text
}

// temporary reports whether the same request may succeed later.
func temporary(err error) bool {
	var status *statusError
	if errors.As(err, &status) {
		return status.code >= 500 || status.code == http.StatusTooManyRequests || status.code == http.StatusRequestTimeout
	}
	var resp *responseError
	var local *localError
	var certificate *tls.CertificateVerificationError
	return !errors.As(err, &resp) && !errors.As(err, &local) && !errors.As(err, &certificate)
}

// askedFor is how long the server wants not to be asked again.
func askedFor(err error) time.Duration {
	var status *statusError
	if errors.As(err, &status) {
		return status.after
	}
	return 0
}

// responseError is an answer that no Culvert gives: what is at that URL is
// something else, and will be the next time.
type responseError struct{ text string }

func (e *responseError) Error() string {
	return "the answer is not from a Culvert server: " + e.text + "; check --url"
}

// localError is a failure on this side of the connection.
type localError struct{ error }

func (e *localError) Unwrap() error { return e.error }
