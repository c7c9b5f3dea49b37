package log

import (
	"errors"
	"fmt"
	"slices"

	"github.com/culvertmq/culvert/event"
)

// series is the units of one AppendEach. They are stored in order, up to the first that fails for a temporary
// reason. Only the appender's goroutine uses it.
type series struct{ broken error }

// stop ends the series because a unit of it failed with err. A refusal does not end it: it concerns that unit
// alone.
func (s *series) stop(err error) {
	if s == nil || s.broken != nil || isRefusal(err) {
		return
	}
	s.broken = after(err)
}

// after is the error of an emit that is not stored because an earlier one failed with err.
func after(err error) error { return fmt.Errorf("an earlier emit was not stored: %w", err) }

// isRefusal reports whether the same emit would fail every time it is sent.
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
