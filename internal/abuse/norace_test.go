//go:build !race

package abuse

// slack is 1 where the server is as it is delivered.
const slack = 1
