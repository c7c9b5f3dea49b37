package limits

import "testing"

// The default limits every field.
func TestNoDefaultLimitIsMissing(t *testing.T) {
	for _, n := range Default().counts() {
		if n == 0 {
			t.Errorf("a limit is missing: %+v", Default())
		}
	}
}
