package api

import (
	"bufio"
	"io"
	"strings"
)

// sseFrame is an event as the HTML standard (9.2.6) dispatches it.
type sseFrame struct {
	id    string // the last event id, which stays until another is set
	event string // "message" when the stream named none
	data  string
	retry string // the newest reconnection time
}

// sseParser interprets an event stream to the letter of the standard.
type sseParser struct {
	r     *bufio.Reader
	begun bool
	id    string
	retry string
}

func newSSEParser(r io.Reader) *sseParser { return &sseParser{r: bufio.NewReader(r)} }

// line ends at CR LF, LF or CR; an incomplete one at the end is dropped.
func (p *sseParser) line() (string, error) {
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

func (p *sseParser) next() (sseFrame, error) {
	event, data, id := "", "", p.id
	for {
		line, err := p.line()
		if err != nil {
			return sseFrame{}, err // an incomplete frame is no frame
		}
		if line == "" {
			p.id = id
			if data == "" {
				event = ""
				continue
			}
			if event == "" {
				event = "message"
			}
			return sseFrame{p.id, event, strings.TrimSuffix(data, "\n"), p.retry}, nil
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

// parseSSE reads all frames of a finished stream.
func parseSSE(text string) []sseFrame {
	p := newSSEParser(strings.NewReader(text))
	var frames []sseFrame
	for {
		f, err := p.next()
		if err != nil {
			return frames
		}
		frames = append(frames, f)
	}
}
