//go:build !race

package abuse

const raced = false
