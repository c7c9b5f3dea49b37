package tail

import "slices"

// fifo is a queue whose content is one slice, oldest first.
type fifo[T any] struct {
	buf  []T
	head int // buf[:head] has been popped
}

func (f *fifo[T]) len() int { return len(f.buf) - f.head }

func (f *fifo[T]) all() []T { return f.buf[f.head:] }

func (f *fifo[T]) push(e T) { f.buf = append(f.buf, e) }

// unshift adds elements in front of the oldest one.
func (f *fifo[T]) unshift(older []T) { f.buf, f.head = slices.Concat(older, f.all()), 0 }

// pop removes the oldest element. Once half of the slice has been popped, the rest moves to its front, which is
// at most one move for each element popped.
func (f *fifo[T]) pop() T {
	e := f.buf[f.head]
	clear(f.buf[f.head : f.head+1])
	f.head++
	if f.head*2 >= len(f.buf) {
		n := copy(f.buf, f.buf[f.head:])
		clear(f.buf[n:])
		f.buf, f.head = f.buf[:n], 0
		if cap(f.buf) > 64 && n < cap(f.buf)/4 {
			f.buf = append(make([]T, 0, 2*n), f.buf...)
		}
	}
	return e
}
