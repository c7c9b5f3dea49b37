package event_test

import (
	"testing"

	"github.com/culvertmq/culvert/event"
)

// Short texts of numbers whose plain form would be huge are hashed quickly, and by their value.
func TestContentHashOfHugeNumbers(t *testing.T) {
	many := `[1e131000`
	for range 20_000 {
		many += `,1e131000`
	}
	texts := []string{many + `]`, many + `,1]`, `1e999999999999`, `1e999999999998`, `1e262145`, `1e262146`, `1e-262145`, `10e1`, `"x"`}
	seen := map[string]string{}
	for _, text := range texts {
		h := contentOf(text)
		if other, again := seen[h]; again {
			t.Errorf("%.30s and %.30s are the same", text, other)
		}
		seen[h] = text
	}
	if contentOf(`1e262145`) != contentOf(`10.0e262144`) {
		t.Error("one number in two forms differs")
	}
}

func contentOf(data string) string {
	e := event.Emit{Event: event.MustEventName("e"), Data: event.MustData(data)}
	return string(e.Hash())
}
