package culvert

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// The errors of a client that are not answers of the server.
var (
	// ErrStop is returned by a handler to end Listen before the event counts as
	// handled: the event comes again. Listen returns the handler's error.
	ErrStop = errors.New("stop listening")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the client is closed")
	// ErrListening is returned by a second Listen at the same time.
	ErrListening = errors.New("the client is already listening")
	// ErrNoReply is returned when fewer replies came in time than were asked for.
	ErrNoReply = errors.New("not enough replies in time")
	// ErrName is returned for a request about a room or client named "." or "..": in
	// a URL these are steps in the path, in any encoding, and cannot be names.
	ErrName = errors.New(`"." and ".." are not valid names`)
)

// The reasons why a connection ended.
var (
	errClosed  = errors.New("the connection to the server ended")
	errNoHello = errors.New("nothing came through the stream")
	errSilence = errors.New("the stream went silent")
	errBursts  = errors.New("a proxy holds back what comes through the stream")
	errLate    = errors.New("no answer came in time")
	errWoken   = errors.New("the client reconnects")
)

// Problem is an answer that is not a success, by the server (RFC 9457) or by
// a proxy.
type Problem struct {
	Type   string `json:"type"` // such as /problems/forbidden, which the server explains
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Field  string `json:"field"` // the wrong field of the request, such as events[3].room

	// RetryAfter is how long the server asks to wait.
	RetryAfter time.Duration `json:"-"`
	// Foreign: the answer is not from Culvert, whatever its status.
	Foreign bool `json:"-"`
}

// Error says what was answered. It contains the texts of the answer unchanged.
func (p *Problem) Error() string {
	if p.Foreign && p.Status < 300 {
		return "the answer is not from a Culvert server: " + p.Detail
	}
	text := fmt.Sprintf("the server answered %d %s", p.Status, http.StatusText(p.Status))
	if said := p.Said(); said != "" {
		text += ": " + said
	}
	return text
}

// Said returns the detail, or the title or status if there is none.
func (p *Problem) Said() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.Title
}

// Temporary reports whether the same request may succeed later, which is true unless
// the server itself refused it. An answer of a proxy does not count as a refusal,
// unless it says that the request is too large. A token that is refused with
// Retry-After is valid later: the issuer's clock is ahead of the server's.
func (p *Problem) Temporary() bool {
	switch p.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusUnauthorized:
		return p.Foreign || p.RetryAfter > 0
	}
	return p.Status >= 500 || p.Foreign && p.Status != http.StatusRequestEntityTooLarge
}

// temporary reports whether trying again may help.
func temporary(err error) bool {
	var p *Problem
	if errors.As(err, &p) {
		return p.Temporary()
	}
	var certificate *tls.CertificateVerificationError
	return !errors.As(err, &certificate) && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrName)
}

// askedFor returns how long the server asks to wait before the next try.
func askedFor(err error) time.Duration {
	var p *Problem
	if errors.As(err, &p) {
		return p.RetryAfter
	}
	return 0
}

// foreign returns a Problem for an answer with a success's status that is not from Culvert.
func foreign(format string, args ...any) error {
	return &Problem{Status: http.StatusOK, Foreign: true, Detail: fmt.Sprintf(format, args...)}
}

// readProblem reads an answer that is not a success.
func readProblem(resp *http.Response) error {
	p := &Problem{}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != "application/problem+json" || json.Unmarshal(body, p) != nil {
		p = &Problem{Foreign: true} // a proxy's page
	}
	p.Status = resp.StatusCode
	p.RetryAfter = retryAfter(resp.Header, time.Now())
	return p
}

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = 5 * time.Minute

// seconds returns a wait that the server asks for, within bounds.
func seconds(s float64) time.Duration {
	return time.Duration(min(max(s, 0), maxRetryAfter.Seconds()) * float64(time.Second))
}

// retryAfter reads the header Retry-After in either of its forms, RFC 9110
// section 10.2.3; 0 if there is none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil && n > 0 {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(v); err == nil && at.After(now) {
		return min(at.Sub(now), maxRetryAfter)
	}
	return 0
}
