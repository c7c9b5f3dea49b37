package queue

import (
	"testing"
	"time"
)

// RegistryByNotificationAlone keeps the queues opened during the test from
// polling the registry.
func RegistryByNotificationAlone(t *testing.T) {
	old := registryPoll
	registryPoll = time.Hour
	t.Cleanup(func() { registryPoll = old })
}

// ContentHash is what an idempotency key stands for.
func ContentHash(e Emit) []byte { return e.hash() }
