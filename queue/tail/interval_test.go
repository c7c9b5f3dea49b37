package tail

import (
	"fmt"
	"testing"

	"github.com/culvertmq/culvert/event"
)

// BenchmarkExceptions measures a page of 1,000 events that each except 100 rooms, for a client in 1,000 other
// rooms.
func BenchmarkExceptions(b *testing.B) {
	all := make([]Interval, 1000)
	for i := range all {
		all[i] = Forever(event.MustRoom(fmt.Sprint("mine-", i)))
	}
	except := make([]event.Room, 100)
	for i := range except {
		except[i] = event.MustRoom(fmt.Sprint("other-", i))
	}
	events := make([]*event.Event, 1000)
	for i := range events {
		events[i] = &event.Event{Offset: event.Offset(i), Except: except}
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(NotExcepted(events, all)) != len(events) {
			b.Fatal("the client is in none of the rooms")
		}
	}
}
