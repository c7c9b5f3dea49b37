package wire

import "sync"

// keepBuffer bounds what a pool keeps of a buffer that grew.
const keepBuffer = 64 << 10

// Buffers is a pool of byte slices. What was put must not be used any more.
type Buffers struct{ pool sync.Pool }

// Get returns an empty slice to append to; its owner puts back what became of it.
func (p *Buffers) Get() *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

// Put takes back what Get lent. One that has grown long is dropped.
func (p *Buffers) Put(b *[]byte) {
	if cap(*b) <= keepBuffer {
		*b = (*b)[:0]
		p.pool.Put(b)
	}
}
