package queue

import "github.com/culvertmq/culvert/event"

// Memory is what a reader may have of the server's memory for events that are read from
// Postgres for it alone. Several goroutines may use it at the same time.
type Memory interface {
	// Take charges n bytes, or reports that there is no room for them.
	Take(n int) bool
	// Give returns n bytes that were taken.
	Give(n int)
}

// charge takes what an event needs.
func (p *page) charge(m Memory, n int) bool {
	if m == nil {
		return true
	}
	if !m.Take(n) {
		return false
	}
	p.taken += n
	return true
}

// release gives back what the page's events have taken: nobody gets them.
func (p *page) release(m Memory) {
	if m != nil && p.taken > 0 {
		m.Give(p.taken)
		p.taken = 0
	}
}

// giveBack returns what a batch has taken.
func giveBack(b *event.Batch, m Memory) {
	if m != nil && b.Taken > 0 {
		m.Give(b.Taken)
		b.Taken = 0
	}
}
