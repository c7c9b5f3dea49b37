package api

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
)

// until polls what another goroutine or process brings about.
func until(t testing.TB, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("did not happen in time")
		}
	}
}

// sameJSON compares JSON values.
func sameJSON(a, b []byte) bool {
	var x, y any
	return decodeNumbers(a, &x) == nil && decodeNumbers(b, &y) == nil && jsonText(x) == jsonText(y)
}

func decodeNumbers(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(v)
}

func cursorOf(s string) event.Cursor {
	c, err := event.ParseCursor(s)
	if err != nil {
		panic(err)
	}
	return c
}

func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
