package park

import "sync"

// PieceSize bounds the bytes of one piece of output, unless a single frame is longer.
const PieceSize = 64 << 10

const (
	room      = 10 // before the frames of a piece, for the size of the chunk: eight digits and CRLF
	lineEnd   = "\r\n"
	lastChunk = "0\r\n\r\n"
)

// output is a piece of output, as one chunk of HTTP/1.1: first frames are added, then it is written. A Conn has one
// only while it writes.
type output struct {
	frames []byte // after room; copies, since most frames are small
	long   []byte // a frame that is longer than a piece, instead of frames: not a copy
	last   bool   // nothing follows this piece

	rest [3][]byte // what is left to write, once sealed
	seal bool
}

var outputs = sync.Pool{New: func() any { return &output{frames: make([]byte, room, 4<<10)} }}

func newOutput() *output {
	o, ok := outputs.Get().(*output)
	if !ok {
		return &output{frames: make([]byte, room, 4<<10)}
	}
	return o
}

// free gives the output back.
func (o *output) free() {
	if cap(o.frames) > PieceSize+4<<10 {
		return
	}
	*o = output{frames: o.frames[:room]}
	outputs.Put(o)
}

func (o *output) empty() bool { return len(o.frames) == room && o.long == nil }

// add takes a frame, or reports that the piece has no room for it.
func (o *output) add(frame []byte) bool {
	switch {
	case o.seal:
		return false
	case o.empty() && len(frame) > PieceSize:
		o.long = frame
		return true
	case o.long != nil, len(o.frames)-room+len(frame) > PieceSize:
		return false
	}
	o.frames = append(o.frames, frame...)
	return true
}

// close makes a chunk of what was added.
func (o *output) close() {
	o.seal = true
	end := lineEnd
	if o.last {
		end = lineEnd + lastChunk
	}
	if o.long != nil {
		start := putSize(o.frames, len(o.long))
		o.rest = [3][]byte{o.frames[start:room], o.long, []byte(end)}
		return
	}
	start := putSize(o.frames, len(o.frames)-room)
	o.frames = append(o.frames, end...)
	o.rest[0] = o.frames[start:]
}

// written drops n bytes, and reports whether that was all.
func (o *output) written(n int) (all bool) {
	for i := range o.rest {
		k := min(n, len(o.rest[i]))
		o.rest[i], n = o.rest[i][k:], n-k
		if len(o.rest[i]) > 0 {
			return false
		}
	}
	return true
}

// putSize writes the size of a chunk and CRLF, so that they end at room, and returns where they begin.
func putSize(b []byte, size int) (start int) {
	const digits = "0123456789abcdef"
	copy(b[room-len(lineEnd):], lineEnd)
	i := room - len(lineEnd)
	for {
		i--
		b[i] = digits[size&15]
		if size >>= 4; size == 0 {
			return i
		}
	}
}
