package api

// chunkSize bounds what one write, and so its deadline, is about.
const chunkSize = 64 << 10

// chunks are lent to chunk. A waiting stream holds none.
var chunks buffers

// chunk puts small pieces together to writes of at most chunkSize; a larger
// piece is a write of its own.
type chunk struct {
	out *outlet
	buf *[]byte
}

func newChunk(out *outlet) chunk { return chunk{out, chunks.get()} }

func (c chunk) free() { chunks.put(c.buf) }

func (c chunk) add(b []byte) error {
	if len(*c.buf)+len(b) > chunkSize {
		if err := c.end(); err != nil {
			return err
		}
	}
	if len(b) > chunkSize {
		return c.out.write(b)
	}
	*c.buf = append(*c.buf, b...)
	return nil
}

// end writes what is left.
func (c chunk) end() error {
	if len(*c.buf) == 0 {
		return nil
	}
	err := c.out.write(*c.buf)
	*c.buf = (*c.buf)[:0]
	return err
}
