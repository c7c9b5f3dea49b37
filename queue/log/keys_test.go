package log

import (
	"fmt"
	"testing"

	"github.com/culvertmq/culvert/event"
)

// What follows a repeated key in its series must not be stored before it.
func TestApartKeepsTheOrderOfASeries(t *testing.T) {
	mine, others := &series{}, &series{}
	var units []*unit
	for _, c := range []struct {
		in  *series
		key string
	}{{mine, "a"}, {mine, ""}, {others, "b"}, {mine, "a"}, {mine, ""}, {mine, "c"}, {others, "d"}, {nil, "c"}, {nil, "a"}, {others, ""}} {
		var e event.Emit
		if c.key != "" {
			e.Key = event.MustKey(c.key)
		}
		u := newUnit([]event.Emit{e})
		u.series = c.in
		units = append(units, u)
	}
	places := func(some []*unit) (all []int) {
		for _, u := range some {
			for i := range units {
				if units[i] == u {
					all = append(all, i)
				}
			}
		}
		return all
	}
	now, later := apart(units)
	if got := fmt.Sprint(places(now), places(later)); got != "[0 1 2 6 7 9] [3 4 5 8]" {
		t.Errorf("now and later are %s", got)
	}
}
