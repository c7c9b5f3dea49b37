package cmd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"strconv"
)

// Bounds of one request, which sends many lines.
const (
	chunkLines = 500
	chunkBytes = 1 << 20
	maxLine    = 1 << 20 // more than the server accepts for any event
)

// line is one event of the input, ready to be sent.
type line struct {
	number int
	body   []byte
}

// chunk is the content of one request.
type chunk struct {
	lines  []line
	faults []lineFault // lines that cannot be sent at all
	size   int         // bytes of the lines
	read   int         // bytes read of the input
	err    error       // why reading ended; io.EOF at the end of the input
}

// lineFault says what is wrong with a line.
type lineFault struct {
	number int
	text   string
}

// lineReader divides its input into chunks.
type lineReader struct {
	in     *bufio.Reader
	prefix string // of generated keys
	number int
	kept   *line // a line that did not fit into the last chunk
	err    error // why reading ended
}

// readChunks reads ahead by one chunk. After the chunk with an err it closes the channel. If ctx ends first,
// its goroutine ends after its current read.
func readChunks(ctx context.Context, in io.Reader, keyPrefix string) <-chan chunk {
	out := make(chan chunk)
	r := &lineReader{in: bufio.NewReaderSize(in, chunkBytes), prefix: keyPrefix}
	go func() {
		defer close(out)
		for {
			c := r.next()
			select {
			case out <- c:
			case <-ctx.Done():
				return
			}
			if c.err != nil {
				return
			}
		}
	}()
	return out
}

// next returns the lines that have arrived, up to the bounds of a request. It waits only for the first line, so
// that lines which arrive slowly are sent at once.
func (r *lineReader) next() (c chunk) {
	if r.kept != nil {
		c.add(*r.kept)
		r.kept = nil
	}
	for r.err == nil && r.kept == nil && len(c.lines) < chunkLines {
		if (len(c.lines) > 0 || len(c.faults) > 0) && !r.buffered() {
			return c
		}
		raw, n, err := r.line()
		c.read += n
		r.err = err
		if len(raw) > 0 {
			r.take(&c, raw)
		}
	}
	if r.kept == nil {
		c.err = r.err
	}
	return c
}

// take checks one line and adds it to the chunk, or keeps it for the next one.
func (r *lineReader) take(c *chunk, raw []byte) {
	if len(raw) > maxLine {
		c.faults = append(c.faults, lineFault{r.number, "is longer than " + strconv.Itoa(maxLine) + " bytes"})
		return
	}
	body, err := withKey(raw, r.prefix+strconv.Itoa(r.number))
	if err != nil {
		c.faults = append(c.faults, lineFault{r.number, err.Error()})
		return
	}
	l := line{r.number, body}
	if len(c.lines) > 0 && c.size+len(body)+1 > chunkBytes {
		r.kept = &l
		return
	}
	c.add(l)
}

func (c *chunk) add(l line) {
	c.lines = append(c.lines, l)
	c.size += len(l.body) + 1
}

// buffered reports whether a whole line can be read without waiting.
func (r *lineReader) buffered() bool {
	ahead, _ := r.in.Peek(r.in.Buffered())
	return bytes.IndexByte(ahead, '\n') >= 0
}

// line returns the next line without its line end, and how many bytes of the input it took. Of a line that is
// too long it returns only slightly more than maxLine bytes.
func (r *lineReader) line() (raw []byte, n int, err error) {
	r.number++
	for {
		part, err := r.in.ReadSlice('\n')
		n += len(part)
		if len(raw) <= maxLine {
			raw = append(raw, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSpace(raw), n, err
		}
	}
}

// withKey adds the key to an event that has none. A volatile event is not stored and gets none.
func withKey(raw []byte, key string) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return nil, errors.New(`is not a JSON object like {"room":"lobby","event":"greeting","data":"hi"}`)
	}
	if _, ok := fields["key"]; ok || string(fields["volatile"]) == "true" {
		return raw, nil
	}
	body := append([]byte(`{"key":"`+key+`"`), ',')
	rest := bytes.TrimSpace(raw[1:])
	if len(fields) == 0 {
		body = body[:len(body)-1]
	}
	return append(body, rest...), nil
}

// randomKey returns an idempotency key that nobody else has.
func randomKey() string { return "cli-" + rand.Text() }
