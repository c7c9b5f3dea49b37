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

// How a client ends, and why it cannot be used.
var (
	// ErrStop is what a handler returns to end Listen before its event counts as
	// handled: it comes again. Listen returns the handler's error.
	ErrStop = errors.New("stop listening")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the client is closed")
	// ErrListening is returned by a second Listen at the same time.
	ErrListening = errors.New("the client listens already")
	// ErrNoReply is returned when fewer replies came in time than were wanted.
	ErrNoReply = errors.New("not enough replies in time")
	// ErrName is returned for a request about a room or client named "." or "..": in
	// a URL these are steps to somewhere else, whatever their encoding, and no names.
	ErrName = errors.New(`"." and ".." are no names`)
)

// Problem is an answer that is not a success: of the server, RFC 9457, or of
// something on the way.
type Problem struct {
	Type   string `json:"type"` // such as /problems/forbidden, which the server explains
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Field  string `json:"field"` // what of the request is at fault, such as events[3].room

	// RetryAfter is what the server asks to wait.
	RetryAfter time.Duration `json:"-"`
	// Foreign: no Culvert gives such an answer, whatever its status.
	Foreign bool `json:"-"`
}

// Error says what was answered. What others wrote stands in it as it came.
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

// Said is the detail, or what stands in for it.
func (p *Problem) Said() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.Title
}

// Temporary reports whether the same request may succeed later: after anything but
// a refusal by the server itself. What something on the way says is no refusal,
// unless it says that the request is too large for it. A token that is refused with a
// time to come back is good, but the issuer's clock is ahead of the server's.
func (p *Problem) Temporary() bool {
	switch p.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusUnauthorized:
		return p.Foreign || p.RetryAfter > 0
	}
	return p.Status >= 500 || p.Foreign && p.Status != http.StatusRequestEntityTooLarge
}

// temporary reports whether asking again may help.
func temporary(err error) bool {
	var p *Problem
	if errors.As(err, &p) {
		return p.Temporary()
	}
	var certificate *tls.CertificateVerificationError
	return !errors.As(err, &certificate) && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrName)
}

// askedFor is how long the server wants not to be asked again.
func askedFor(err error) time.Duration {
	var p *Problem
	if errors.As(err, &p) {
		return p.RetryAfter
	}
	return 0
}

// foreign is an answer with a success's status that no Culvert gives.
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

// seconds is a wait the server asks for, within bounds.
func seconds(s float64) time.Duration {
	return time.Duration(min(max(s, 0), maxRetryAfter.Seconds()) * float64(time.Second))
}

// retryAfter reads the header Retry-After in either of its forms, RFC 9110
// section 10.2.3; 0 when there is none.
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
