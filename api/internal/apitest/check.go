// Package apitest has what tests of several packages below api need: issuers of tokens and a parser of event streams.
package apitest

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
)

// Until polls until another goroutine or process has done something, and fails the test if it takes too long.
func Until(t testing.TB, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the condition was not met in time")
		}
	}
}

// SameJSON compares JSON values.
func SameJSON(a, b []byte) bool {
	var x, y any
	return DecodeNumbers(a, &x) == nil && DecodeNumbers(b, &y) == nil && JSONText(x) == JSONText(y)
}

// DecodeNumbers decodes JSON and keeps its numbers as they are written.
func DecodeNumbers(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(v)
}

// CursorOf parses a cursor.
func CursorOf(s string) event.Cursor {
	c, err := event.ParseCursor(s)
	if err != nil {
		panic(err)
	}
	return c
}

// JSONText is v as JSON.
func JSONText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
