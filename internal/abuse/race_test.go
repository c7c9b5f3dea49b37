//go:build race

package abuse

// raced says that the race detector is on. It takes 5 to 10 times the memory and 2 to 20 times the time, by its
// own documentation, and the bounds are for a server without it.
const raced = true
