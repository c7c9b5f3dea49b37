//go:build race

package abuse

// raced: the race detector takes 5 to 10 times the memory and 2 to 20 times the time, by its
// own documentation. The bounds are those of a server without it.
const raced = true
