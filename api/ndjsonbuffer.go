package api

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/culvertmq/culvert/api/visit"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// Bounds on an upload's memory.
const (
	maxLine     = event.MaxData + 64<<10 // data and its envelope
	bufferLines = maxBatch
	bufferBytes = 1 << 20
	// uploadBuffer is how many bytes are read at a time.
	uploadBuffer = 64 << 10
)

var errLineTooLarge = wire.Refuse(wire.TooLarge, "", "the line is over 320 KiB")

// line is one non-blank line of an upload, counted from 1.
type line struct {
	number int
	text   []byte
	err    error // why the line was refused

	volatile bool
}

// lines splits a body into lines. It skips a line over maxLine without keeping it in memory.
type lines struct {
	r      *bufio.Reader
	number int
	buf    []byte
	cover  func(n int) error // called with the length of a line so far; its error ends the reading; may be nil
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, uploadBuffer)} }

// next returns the next line. Its text is valid until the following call. The last line needs no newline; but
// if the connection breaks, the last piece is not returned.
func (l *lines) next() (line, error) {
	l.buf = l.buf[:0]
	over := false
	for {
		part, err := l.r.ReadSlice('\n')
		if over = over || len(l.buf)+len(part) > maxLine; over {
			l.buf = l.buf[:0]
		} else {
			l.buf = append(l.buf, part...)
		}
		if l.cover != nil {
			if err := l.cover(len(l.buf)); err != nil {
				return line{}, err
			}
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && (!errors.Is(err, io.EOF) || len(l.buf) == 0 && !over) {
			return line{}, err
		}
		l.number++
		if over {
			return line{number: l.number, err: errLineTooLarge}, nil
		}
		return line{number: l.number, text: l.buf}, nil
	}
}

// isBlank reports whether a line is blank. Blank lines are skipped: senders use them to keep a connection
// alive.
func isBlank(text []byte) bool { return len(bytes.TrimSpace(text)) == 0 }

// lineBuffer holds the lines that arrive while earlier ones are being stored. So many lines become one append, and
// yet the first of them does not wait.
type lineBuffer struct {
	ready chan struct{} // receives when take has lines or an error to return
	room  chan struct{} // receives when take has made room
	done  chan struct{} // closed by stop: nobody calls take any more

	mu    sync.Mutex
	lines []line
	bytes int
	last  int   // number of the newest line read
	err   error // why no more lines come
}

func newLineBuffer() *lineBuffer {
	return &lineBuffer{ready: make(chan struct{}, 1), room: make(chan struct{}, 1), done: make(chan struct{})}
}

// fill reads lines until the body ends or stop is called. It calls admit with the length of every line before
// it adds it; admit may wait, and its error ends the reading before that line.
func (g *lineBuffer) fill(l *lines, admit func(bytes int, stop <-chan struct{}) error) {
	for {
		next, err := l.next()
		if err != nil {
			g.end(err, l.number)
			return
		}
		if next.err == nil && isBlank(next.text) {
			continue
		}
		if err := admit(len(next.text), g.done); err != nil {
			g.end(err, next.number-1)
			return
		}
		if !g.put(next) {
			return
		}
	}
}

// end notes why no line comes after the line last.
func (g *lineBuffer) end(err error, last int) {
	g.mu.Lock()
	g.err, g.last = err, last
	g.mu.Unlock()
	signal(g.ready)
}

// put adds a line. It waits while there are too many, and returns false after stop.
func (g *lineBuffer) put(next line) bool {
	// A copy: the reader uses the buffer of the text again.
	next.text = append([]byte(nil), next.text...)
	for {
		g.mu.Lock()
		if len(g.lines) == 0 || len(g.lines) < bufferLines && g.bytes+len(next.text) <= bufferBytes {
			g.lines = append(g.lines, next)
			g.bytes += len(next.text)
			g.last = next.number
			g.mu.Unlock()
			signal(g.ready)
			return true
		}
		g.mu.Unlock()
		select {
		case <-g.room:
		case <-g.done:
			return false
		}
	}
}

// take returns the lines in the buffer, the number of the line that would come next, and the error after which
// no more come.
func (g *lineBuffer) take() ([]line, int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	taken := g.lines
	g.lines, g.bytes = nil, 0
	signal(g.room)
	return taken, g.last + 1, g.err
}

func (g *lineBuffer) stop() { close(g.done) }

// signal sends a token unless the channel holds one already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// watched is a body that knows how long the current read has been waiting. While more of the body is wanted, no
// deadline is set: a deadline that passes breaks a chunked or HTTP/2 body for good, and then the rest of the
// body would reset the connection, and with it the answer.
type watched struct {
	visit *visit.Visit
	body  io.Reader

	mu    sync.Mutex
	since time.Time // when the current read began; zero: no read is waiting
	err   error     // what ended the body
}

// Read implements io.Reader.
func (w *watched) Read(b []byte) (int, error) {
	w.note(time.Now(), nil)
	n, err := w.body.Read(b)
	w.note(time.Time{}, err)
	return n, err
}

func (w *watched) note(since time.Time, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.err = since, err
}

// waited returns how long the current read has been waiting.
func (w *watched) waited() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() {
		return 0
	}
	return time.Since(w.since)
}

// ended returns what ended the body: io.EOF, or an error; nil before the end.
func (w *watched) ended() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// patience sets how long the current read and all later ones may take together; a negative time ends them at
// once. After the body's end it does nothing: then net/http itself reads, to notice when the client leaves, and
// would take a timeout for that.
func (w *watched) patience(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !errors.Is(w.err, io.EOF) {
		w.visit.ReadWithin(d)
	}
}
