package api

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/culvertmq/culvert/internal/jsontext"
)

// maxBody bounds a JSON body.
const maxBody = 1 << 20

const (
	mediaJSON  = "application/json"
	mediaLines = "application/x-ndjson"
)

// mediaType returns the body's type when it is one of ours, uncompressed and
// in UTF-8.
func mediaType(r *http.Request) (string, error) {
	if r.Header.Get("Content-Encoding") != "" {
		return "", refuse(unsupported, "", "a body with a Content-Encoding is not accepted")
	}
	text := r.Header.Get("Content-Type")
	if text == mediaJSON {
		return mediaJSON, nil
	}
	media, params, err := mime.ParseMediaType(text)
	charset, given := params["charset"]
	if err != nil || given && !strings.EqualFold(charset, "utf-8") || media != mediaJSON && media != mediaLines {
		return "", refuse(unsupported, "", "want Content-Type: application/json")
	}
	return media, nil
}

// bodyRoutes are the routes that read a body. All others refuse one.
var bodyRoutes = map[string]bool{
	"PUT " + namespaceRoute:   true,
	"PATCH " + namespaceRoute: true,
	"POST " + emitRoute:       true,
	"POST /v1/:ns/reply":      true,
	"POST /v1/:ns/ack":        true,
}

// mostNothing is how long a body may be that says nothing: {} and some blanks.
const mostNothing = 64

// withoutBody makes sure that a request to a route without a body has none: what its
// sender meant by one would be ignored. An empty one is none, however it is framed: some
// proxies send an empty chunked body, or end a request of HTTP/2 with an empty DATA frame;
// {} is what some clients always send, but not by GET. While a body is unread, net/http
// does not notice that the client left.
func (c *call) withoutBody(route string) error {
	if c.r.ContentLength == 0 || bodyRoutes[c.r.Method+" "+route] {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(c.r.Body, mostNothing))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case err != nil:
		return errEndedEarly
	}
	if err := c.stillGood(); err != nil {
		return err
	}
	switch {
	case len(body) == 0:
		return nil
	case c.r.Method == http.MethodGet:
		return refuse(badParameter, "", "a GET with a body is not accepted")
	}
	nothing := false
	if len(body) < mostNothing && json.Valid(body) {
		nothing, err = members(body, func(name string, _ []byte) error {
			return refuse(malformed, clip(name), noBodyText)
		})
	}
	if err == nil && !nothing {
		err = refuse(malformed, "", noBodyText)
	}
	return err
}

const noBodyText = "this route takes no body: leave it out, or send {}"

// bodies are lent to readJSON.
var bodies buffers

// readJSON reads a body that is one JSON value into buf.
func (c *call) readJSON(buf *[]byte) error {
	if err := c.readRaw(buf); err != nil {
		return err
	}
	return checkJSON(*buf)
}

func (c *call) readRaw(buf *[]byte) error {
	if c.r.ContentLength > maxBody {
		return errBodyTooLarge
	}
	if err := readBody(c.r.Body, c.r.ContentLength, buf, c.visit.account.cover); err != nil {
		return err
	}
	return c.stillGood()
}

// stillGood refuses a request whose credentials have expired or were revoked while its
// body came, which may take bodyTimeout: it must not do what its sender may not any more.
func (c *call) stillGood() error {
	h := c.visit.h
	switch {
	case !c.who.expires.IsZero() && !time.Now().Before(c.who.expires):
		return badToken(hasExpired)
	case !h.good(c.ns, &c.who):
		return badToken(wasRevoked)
	}
	return nil
}

func checkJSON(raw []byte) error {
	if jsontext.Valid(raw) {
		return nil
	}
	if !utf8.Valid(raw) {
		return refuse(invalid, "", "the body is not valid UTF-8")
	}
	if json.Valid(raw) { // nested very deep
		return nil
	}
	var v json.RawMessage
	detail := "the body is not valid JSON"
	if err := json.Unmarshal(raw, &v); err != nil {
		detail += ": " + strings.TrimPrefix(err.Error(), "json: ")
	}
	return refuse(malformed, "", detail)
}

var (
	errBodyTooLarge = refuse(tooLarge, "", "the body is over 1 MiB")
	errEndedEarly   = refuse(incomplete, "", "the body ended early, or its chunked encoding is invalid")
)

// readBody reads at most maxBody bytes into buf, which grows with what has come: a length
// that is only announced costs no memory. cover is told how much it is, and may refuse it.
func readBody(r io.Reader, length int64, buf *[]byte, cover func(n int) error) error {
	for {
		b := *buf
		if len(b) == cap(b) {
			*buf = grown(b, length)
			continue
		}
		n, err := r.Read(b[len(b):cap(b)])
		*buf = b[:len(b)+n]
		if err := cover(len(*buf)); err != nil {
			return err
		}
		switch {
		case len(*buf) > maxBody:
			return errBodyTooLarge
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case err != nil: // the client's connection broke, or its framing
			return errEndedEarly
		}
	}
}

// grown is b with twice the room, or less: for the announced length and a byte more, so
// that the end is seen without growing again.
func grown(b []byte, length int64) []byte {
	size := max(1024, 2*cap(b))
	if length >= 0 {
		size = min(size, int(length)+1)
	}
	return append(make([]byte, 0, max(size, len(b)+1)), b...)
}
