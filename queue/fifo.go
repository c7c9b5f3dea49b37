package queue

// fifo is a queue of events whose content is one slice, oldest first.
type fifo struct {
	buf  []*Event
	head int // buf[:head] has been popped
}

func (f *fifo) len() int { return len(f.buf) - f.head }

func (f *fifo) all() []*Event { return f.buf[f.head:] }

func (f *fifo) push(e *Event) { f.buf = append(f.buf, e) }

// pop removes the oldest. The room it leaves is given back once it is half of
// the slice, which costs every event one move at the most.
func (f *fifo) pop() *Event {
	e := f.buf[f.head]
	f.buf[f.head] = nil
	f.head++
	if f.head*2 >= len(f.buf) {
		n := copy(f.buf, f.buf[f.head:])
		clear(f.buf[n:])
		f.buf, f.head = f.buf[:n], 0
		if cap(f.buf) > 64 && n < cap(f.buf)/4 {
			f.buf = append(make([]*Event, 0, 2*n), f.buf...)
		}
	}
	return e
}
