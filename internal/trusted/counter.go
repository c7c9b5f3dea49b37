package trusted

// Counter is told how many bytes something takes. The zero value counts nothing.
type Counter struct{ count func(bytes int) }

// CountWith returns a Counter that calls count.
func CountWith(count func(bytes int)) Counter { return Counter{count} }

// Count counts some bytes.
func (c Counter) Count(bytes int) {
	if c.count != nil {
		c.count(bytes)
	}
}
