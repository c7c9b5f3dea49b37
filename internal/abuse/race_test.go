//go:build race

package abuse

// The race detector takes 5 to 10 times the memory and 2 to 20 times the time, by its own
// documentation; the bounds are those of a server without it.
const slack = 8
