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

// Bounds of one request of many lines.
const (
	chunkLines = 500
	chunkBytes = 1 << 20
	maxLine    = 1 << 20 // longer than any event the server takes
)

// line is one event of the input, ready to be sent.
type line struct {
	number int
	body   []byte
}

// chunk is what goes into one request.
type chunk struct {
	lines  []line
	faults []lineFault // lines that cannot be sent at all
	size   int         // bytes of the bodies
	read   int         // bytes of the input
	err    error       // why reading ended, io.EOF at the end
}

// lineFault is what is wrong with a line.
type lineFault struct {
	number int
	text   string
}

// lineReader cuts its input into chunks.
type lineReader struct {
	in     *bufio.Reader
	prefix string // of generated keys
	number int
	kept   *line // did not fit into the last chunk
	err    error // why reading ended
}

// readChunks reads ahead by one chunk. The channel ends after the chunk with an
// err; when ctx ends first, the goroutine ends with its next read.
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

// next returns what is there, up to the bounds of a request: it waits for the
// first line only, so that lines that trickle in are sent as they come.
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

// buffered reports whether a whole line can be had without waiting.
func (r *lineReader) buffered() bool {
	ahead, _ := r.in.Peek(r.in.Buffered())
	return bytes.IndexByte(ahead, '\n') >= 0
}

// line returns the next line without its end, and how much of the input it took.
// Of one that is too long it returns only as much as shows that.
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

// withKey returns the event with an idempotency key: its own, or the one given.
// A volatile event is not stored and needs none.
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

// randomKey is an idempotency key nobody else has.
func randomKey() string { return "cli-" + rand.Text() }
