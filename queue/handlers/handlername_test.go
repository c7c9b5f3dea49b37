package handlers

import (
	"errors"
	"testing"

	"github.com/culvertmq/culvert/event"
)

// A handler's name is part of the paths of its routes.
func TestAHandlersNameIsNoStepInAPath(t *testing.T) {
	for _, dots := range []string{".", ".."} {
		h := newHandler(nil, nil, event.MustNamespace("n"), "*", nil)
		h.name = dots
		var invalid *event.InvalidError
		if err := h.check(); !errors.As(err, &invalid) || invalid.Field != "name" {
			t.Errorf("handler %q: %v", dots, err)
		}
	}
}
