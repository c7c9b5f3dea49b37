package apitest

import (
	"bufio"
	"io"
	"strings"
)

// Frame is an event as the HTML standard (9.2.6) dispatches it.
type Frame struct {
	ID    string // the last event id, which stays until the stream sets another
	Event string // "message" when the stream names none
	Data  string
	Retry string // the newest reconnection time
}

// Parser interprets an event stream to the letter of the standard.
type Parser struct {
	r     *bufio.Reader
	begun bool
	ID    string
	retry string
}

// NewParser reads the stream r.
func NewParser(r io.Reader) *Parser { return &Parser{r: bufio.NewReader(r)} }

// line reads a line, which ends at CR LF, LF or CR; an incomplete line at the end is dropped.
func (p *Parser) line() (string, error) {
	var b strings.Builder
	for {
		c, _, err := p.r.ReadRune() // invalid UTF-8 becomes U+FFFD, as decoding does
		if err != nil {
			return "", err
		}
		if !p.begun {
			p.begun = true
			if c == '\ufeff' {
				continue
			}
		}
		switch c {
		case '\n':
			return b.String(), nil
		case '\r':
			// Peeking would wait for the next frame; none of ours ends so, and
			// a byte that follows at once is buffered.
			if p.r.Buffered() > 0 {
				if next, _ := p.r.Peek(1); next[0] == '\n' {
					_, _ = p.r.Discard(1)
				}
			}
			return b.String(), nil
		}
		b.WriteRune(c)
	}
}

// Next waits for the next frame. Errors: those of the reader; an incomplete frame is not returned.
func (p *Parser) Next() (Frame, error) {
	event, data, id := "", "", p.ID
	for {
		line, err := p.line()
		if err != nil {
			return Frame{}, err // an incomplete frame does not count
		}
		if line == "" {
			p.ID = id
			if data == "" {
				event = ""
				continue
			}
			if event == "" {
				event = "message"
			}
			return Frame{p.ID, event, strings.TrimSuffix(data, "\n"), p.retry}, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			event = value
		case "data":
			data += value + "\n"
		case "id":
			if !strings.Contains(value, "\x00") {
				id = value
			}
		case "retry":
			if strings.Trim(value, "0123456789") == "" {
				p.retry = value
			}
		}
	}
}

// ParseFrames reads all frames of a finished stream.
func ParseFrames(text string) []Frame {
	p := NewParser(strings.NewReader(text))
	var frames []Frame
	for {
		f, err := p.Next()
		if err != nil {
			return frames
		}
		frames = append(frames, f)
	}
}
