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
