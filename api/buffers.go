package api

import "sync"

// keepBuffer bounds what a pool keeps of a buffer that grew.
const keepBuffer = 64 << 10

// buffers is a pool of byte slices. What was put must not be used any more.
type buffers struct{ pool sync.Pool }

// get returns an empty slice to append to; its owner puts back what became of it.
func (p *buffers) get() *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

func (p *buffers) put(b *[]byte) {
	if cap(*b) <= keepBuffer {
		*b = (*b)[:0]
		p.pool.Put(b)
	}
}
