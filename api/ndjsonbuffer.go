package api

import (
	"bufio"
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
	gatherLines = maxBatch
	gatherBytes = 1 << 20
	// uploadBuffer is read at a time.
	uploadBuffer = 64 << 10
)

var errLineTooLarge = wire.Refuse(wire.TooLarge, "", "the line is over 320 KiB")

// line is one non-blank line of an upload, counted from 1.
type line struct {
	number int
	text   []byte
	err    error // the line could not be taken

	volatile bool
}

// lines splits a body. A line over maxLine is skipped in bounded memory.
type lines struct {
	r      *bufio.Reader
	number int
	buf    []byte
	cover  func(n int) error // is told of the length of a line so far, and may refuse it; nil: nobody is
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, uploadBuffer)} }

// next returns the next line; its text is valid until the following call. The
// last line needs no newline, but a broken connection's last piece is no line.
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

// gather holds the lines that came while earlier ones are being stored: what
// makes one append of many lines, without making the first of them wait.
type gather struct {
	ready chan struct{} // receives when take has something to give
	room  chan struct{} // receives when take made room
	done  chan struct{} // closed when nobody takes any more

	mu    sync.Mutex
	lines []line
	bytes int
	last  int   // number of the newest line read
	err   error // why there will be no more lines
}

func newGather() *gather {
	return &gather{ready: make(chan struct{}, 1), room: make(chan struct{}, 1), done: make(chan struct{})}
}

// fill reads until the body's end or stop. Every line waits for admit, which is told its
// length, and whose error ends the reading before that line.
func (g *gather) fill(l *lines, admit func(bytes int, stop <-chan struct{}) error) {
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

// end notes why there is nothing after the line last.
func (g *gather) end(err error, last int) {
	g.mu.Lock()
	g.err, g.last = err, last
	g.mu.Unlock()
	signal(g.ready)
}

// put adds a line, waiting while there are too many; false after stop.
func (g *gather) put(next line) bool {
	// The buffer the text is in is used again.
	next.text = append([]byte(nil), next.text...)
	for {
		g.mu.Lock()
		if len(g.lines) == 0 || len(g.lines) < gatherLines && g.bytes+len(next.text) <= gatherBytes {
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

// Charge returns what was gathered, the number of the line that would come next,
// and the error after which there are no more.
func (g *gather) take() ([]line, int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	taken := g.lines
	g.lines, g.bytes = nil, 0
	signal(g.room)
	return taken, g.last + 1, g.err
}

func (g *gather) stop() { close(g.done) }

// signal leaves a token unless one is there already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// watched is a body that knows for how long it has been waited for. No deadline is set
// while more of it is wanted: one that passes breaks a body of chunks or of HTTP/2 for
// good, so that what comes later resets the connection with the answer.
type watched struct {
	visit *visit.Visit
	body  io.Reader

	mu    sync.Mutex
	since time.Time // when the read under way began; zero: there is none
	err   error     // after which nothing more comes
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

// waited is how long the read under way has taken.
func (w *watched) waited() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() {
		return 0
	}
	return time.Since(w.since)
}

// ended is what ended the body: io.EOF, or what is wrong with it; nil before that.
func (w *watched) ended() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// patience sets how long the reads after this may take together, and the one under way:
// no time when it is negative. After the body's end it does nothing: net/http then reads
// itself, to notice a lost client, and would take a timeout for one.
func (w *watched) patience(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !errors.Is(w.err, io.EOF) {
		w.visit.ReadWithin(d)
	}
}
