package event

// Memory is the part of the server's memory that a reader may use for events that are read from Postgres for it
// alone. Several goroutines may use it at the same time.
type Memory interface {
	// Take charges n bytes, or reports that there is no room for them.
	Take(n int) bool
	// Give returns n bytes that were taken.
	Give(n int)
}

// GiveBack gives back what the batch has taken.
func (b *Batch) GiveBack(m Memory) {
	if m != nil && b.Taken > 0 {
		m.Give(b.Taken)
		b.Taken = 0
	}
}
