package culvert

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/r3labs/sse/v2"
)

// maxFrame bounds one frame: an event's 256 KiB of data with its names, all escaped
// at worst, and a reserve for later servers.
const maxFrame = 1 << 20

// frameReader reads the frames of an event stream.
type frameReader struct {
	stream *sse.EventStreamReader
}

func newFrameReader(r io.Reader) *frameReader {
	whole := &wholeFrames{in: bufio.NewReaderSize(r, 32<<10)}
	// The library's buffer must hold a frame and what was read after it.
	return &frameReader{sse.NewEventStreamReader(whole, 2*maxFrame)}
}

// next returns the next frame that has an event, an id or data. The frame is
// valid until the next call.
func (f *frameReader) next() (*sse.Event, error) {
	for {
		raw, err := f.stream.ReadEvent()
		if err != nil {
			return nil, err
		}
		if e := parseFrame(raw); len(e.Event) > 0 || len(e.ID) > 0 || len(e.Data) > 0 {
			return e, nil
		}
	}
}

// parseFrame reads the fields of a frame as section 9.2.6 of the HTML specification
// says.
func parseFrame(raw []byte) *sse.Event {
	e := &sse.Event{}
	for raw := range bytes.Lines(raw) {
		name, v, _ := bytes.Cut(bytes.TrimRight(raw, "\r\n"), []byte(":"))
		v = bytes.TrimPrefix(v, []byte(" "))
		switch string(name) {
		case "event":
			e.Event = v
		case "data":
			if e.Data != nil {
				v = bytes.Join([][]byte{e.Data, v}, []byte("\n"))
			}
			e.Data = v
		case "retry":
			e.Retry = v
		case "id":
			if bytes.IndexByte(v, 0) < 0 {
				e.ID = v
			}
		}
	}
	return e
}

// wholeFrames passes on frames that end with their blank line, and drops an
// incomplete last frame, which the library would deliver as a whole one. Lines
// end with LF or CRLF, since Culvert never ends them with only CR.
type wholeFrames struct {
	in      *bufio.Reader
	frame   []byte // being read, or read and being passed on
	passed  int    // bytes of a whole frame passed on
	whole   bool
	midLine bool
}

var errLongFrame = errors.New("a frame of the stream is longer than any event may be")

func (w *wholeFrames) Read(p []byte) (int, error) {
	for !w.whole {
		part, err := w.in.ReadSlice('\n')
		w.frame = append(w.frame, part...)
		switch {
		case len(w.frame) > maxFrame:
			return 0, errLongFrame
		case errors.Is(err, bufio.ErrBufferFull):
			w.midLine = true
			continue
		case err != nil:
			return 0, err
		}
		w.whole = !w.midLine && len(bytes.TrimRight(part, "\r\n")) == 0
		w.midLine = false
	}
	n := copy(p, w.frame[w.passed:])
	if w.passed += n; w.passed == len(w.frame) {
		w.frame, w.passed, w.whole = w.frame[:0], 0, false
	}
	return n, nil
}
