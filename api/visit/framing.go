package visit

import (
	"bytes"
	"sync/atomic"
)

// framing looks in the bytes of a connection for heads of requests with both a Content-Length and a
// Transfer-Encoding: net/http follows the one and hides the other. It does not know where bodies begin and end.
// A body that looks like such a head costs its sender the connection, and no other client.
type framing struct {
	start            [20]byte // of the line
	n                int      // bytes of it
	length, encoding bool     // whether such fields came since the last empty line
	http2            bool     // this is HTTP/2, which has frames and refuses these fields itself
	twice            atomic.Bool
}

// look is called with all bytes that are read, in order.
func (f *framing) look(b []byte) {
	for len(b) > 0 && !f.http2 {
		end := bytes.IndexByte(b, '\n')
		line := b
		if end >= 0 {
			line = b[:end]
		}
		f.n += copy(f.start[f.n:], line)
		if end < 0 {
			return
		}
		f.endLine()
		b = b[end+1:]
	}
}

func (f *framing) endLine() {
	start := f.start[:f.n]
	f.n = 0
	switch {
	case len(start) == 0, string(start) == "\r":
		if f.length && f.encoding {
			f.twice.Store(true)
		}
		f.length, f.encoding = false, false
	case isField(start, "content-length:"):
		f.length = true
	case isField(start, "transfer-encoding:"):
		f.encoding = true
	case bytes.HasPrefix(start, []byte("PRI * HTTP/2.0")):
		f.http2 = true
	}
}

func isField(line []byte, name string) bool {
	return len(line) >= len(name) && bytes.EqualFold(line[:len(name)], []byte(name))
}
