package api

import "testing"

// Whoever says nothing about limits has all of them.
func TestNoDefaultLimitIsMissing(t *testing.T) {
	for _, n := range DefaultLimits().counts() {
		if n == 0 {
			t.Errorf("a limit is missing: %+v", DefaultLimits())
		}
	}
}
