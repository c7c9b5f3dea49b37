package log

import (
	"errors"
	"fmt"
	"slices"

	"github.com/culvertmq/culvert/event"
)

// series are the units of one AppendEach, which are stored in their order up to the
// first that fails for a reason that may pass. Only the appender's goroutine uses it.
type series struct{ broken error }

// stop notes that a unit of the series failed with err. What is wrong with that one
// alone, and always will be, stops nothing.
func (s *series) stop(err error) {
	if s == nil || s.broken != nil || isRefusal(err) {
		return
	}
	s.broken = after(err)
}

// after is why an emit is not stored that follows one that failed with err.
func after(err error) error { return fmt.Errorf("an earlier emit was not stored: %w", err) }

// isRefusal reports whether the same emit would fail again, whenever it is sent.
func isRefusal(err error) bool {
	var bad *event.InvalidError
	return errors.As(err, &bad) || errors.Is(err, event.ErrKeyReused) || errors.Is(err, event.ErrRoomQuota) || errors.Is(err, event.ErrDeleted) || errors.Is(err, event.ErrNotFound)
}

// unbroken refuses the units whose series has stopped, and returns the others.
func unbroken(units []*unit) []*unit {
	stopped := func(u *unit) bool { return u.series != nil && u.series.broken != nil }
	if !slices.ContainsFunc(units, stopped) {
		return units
	}
	var kept []*unit
	for _, u := range units {
		if stopped(u) {
			u.refuse(u.series.broken)
		} else {
			kept = append(kept, u)
		}
	}
	return kept
}
