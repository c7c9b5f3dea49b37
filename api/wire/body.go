package wire

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/culvertmq/culvert/internal/jsontext"
)

// MaxBody bounds a JSON body.
const MaxBody = 1 << 20

// The media types of bodies.
const (
	MediaJSON  = "application/json"
	MediaLines = "application/x-ndjson"
)

// MediaType returns the body's media type. Errors: *Problem of kind Unsupported if it is neither JSON nor
// NDJSON, if the body is compressed, or if it is not in UTF-8.
func MediaType(r *http.Request) (string, error) {
	if r.Header.Get("Content-Encoding") != "" {
		return "", Refuse(Unsupported, "", "a body with a Content-Encoding is not accepted")
	}
	text := r.Header.Get("Content-Type")
	if text == MediaJSON {
		return MediaJSON, nil
	}
	media, params, err := mime.ParseMediaType(text)
	charset, given := params["charset"]
	if err != nil || given && !strings.EqualFold(charset, "utf-8") || media != MediaJSON && media != MediaLines {
		return "", Refuse(Unsupported, "", "want Content-Type: application/json")
	}
	return media, nil
}

// CheckJSON reports what is wrong with text that should be JSON. Errors: *Problem.
func CheckJSON(raw []byte) error {
	if jsontext.Valid(raw) {
		return nil
	}
	if !utf8.Valid(raw) {
		return Refuse(Invalid, "", "the body is not valid UTF-8")
	}
	if json.Valid(raw) { // too deeply nested for ParseData
		return nil
	}
	var v json.RawMessage
	detail := "the body is not valid JSON"
	if err := json.Unmarshal(raw, &v); err != nil {
		detail += ": " + strings.TrimPrefix(err.Error(), "json: ")
	}
	return Refuse(Malformed, "", detail)
}

var (
	errBodyTooLarge = Refuse(TooLarge, "", "the body is over 1 MiB")
	// ErrEndedEarly means that the end of the body is missing.
	ErrEndedEarly = Refuse(Incomplete, "", "the body ended early, or its chunked encoding is invalid")
)

// ReadBody reads at most MaxBody bytes into buf. buf grows with what has arrived, not with the announced
// length, so that an announcement costs no memory; length is -1 if none is announced. cover is called with the
// number of bytes that have arrived, and may return an error to stop.
// Errors: those of cover, *Problem, and os.ErrDeadlineExceeded when the body stopped arriving.
func ReadBody(r io.Reader, length int64, buf *[]byte, cover func(n int) error) error {
	if length > MaxBody {
		return errBodyTooLarge
	}
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
		case len(*buf) > MaxBody:
			return errBodyTooLarge
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case err != nil: // the client's connection broke, or its framing
			return ErrEndedEarly
		}
	}
}

// grown returns b with twice the capacity. If the announced length and one byte are less, it takes that: the
// one byte more lets the end be seen without growing again.
func grown(b []byte, length int64) []byte {
	size := max(1024, 2*cap(b))
	if length >= 0 {
		size = min(size, int(length)+1)
	}
	return append(make([]byte, 0, max(size, len(b)+1)), b...)
}
