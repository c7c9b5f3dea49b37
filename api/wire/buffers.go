package wire

import "sync"

// keepBuffer is the capacity above which a pool drops a buffer.
const keepBuffer = 64 << 10

// Buffers is a pool of byte slices. A slice must not be used after Put.
type Buffers struct{ pool sync.Pool }

// Get returns an empty slice to append to. The caller stores the grown slice in it and gives it back by Put.
func (p *Buffers) Get() *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

// Put takes back a slice that Get returned. It drops one that has grown too long.
func (p *Buffers) Put(b *[]byte) {
	if cap(*b) <= keepBuffer {
		*b = (*b)[:0]
		p.pool.Put(b)
	}
}
