package limits

import "testing"

// Whoever says nothing about limits has all of them.
func TestNoDefaultLimitIsMissing(t *testing.T) {
	for _, n := range Default().counts() {
		if n == 0 {
			t.Errorf("a limit is missing: %+v", Default())
		}
	}
}
