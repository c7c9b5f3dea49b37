package queue

import (
	"bytes"
	"testing"
	"time"
	"unicode/utf8"
)

// RegistryByNotificationAlone keeps the queues opened during the test from
// polling the registry.
func RegistryByNotificationAlone(t *testing.T) {
	old := registryPoll
	registryPoll = time.Hour
	t.Cleanup(func() { registryPoll = old })
}

// IsJSONLine is isJSONLine.
func IsJSONLine(text []byte) bool { return isJSONLine(text) }

// OneLine: valid UTF-8 without the blanks of other lines.
func OneLine(text []byte) bool { return utf8.Valid(text) && !bytes.ContainsAny(text, "\r\n") }
