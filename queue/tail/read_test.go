package tail

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/culvertmq/culvert/event"
)

// mergeRooms takes the events that would come first if all were sorted.
func TestRoomsAreMergedInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var runs [][]*event.Event
		var all []*event.Event
		for room := range rapid.IntRange(0, 9).Draw(t, "rooms") {
			var run []*event.Event
			for offset := range event.Offset(40) {
				if rapid.IntRange(0, 3).Draw(t, "event") == 0 {
					run = append(run, &event.Event{Offset: offset, Room: event.MustRoom(fmt.Sprint(room))})
				}
			}
			if len(run) > 0 {
				runs, all = append(runs, run), append(all, run...)
			}
		}
		runs = rapid.Permutation(runs).Draw(t, "runs")
		limit := rapid.IntRange(1, 50).Draw(t, "limit")
		slices.SortFunc(all, func(a, b *event.Event) int {
			return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Room.String(), b.Room.String()))
		})
		all = slices.CompactFunc(all, func(a, b *event.Event) bool { return a.Offset == b.Offset })
		want := all[:min(len(all), limit)]
		if got := mergeRooms(nil, runs, limit); !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

// mergeRooms takes one event beyond MaxBatch bytes, so that cut knows that there are more.
func TestMergingEndsAtManyBytes(t *testing.T) {
	large := strings.Repeat("x", MaxBatch/4)
	var runs [][]*event.Event
	for room := range 4 {
		var run []*event.Event
		for i := range event.Offset(4) {
			run = append(run, &event.Event{Offset: 4*i + event.Offset(room), Room: event.MustRoom(fmt.Sprint(room)), Data: large})
		}
		runs = append(runs, run)
	}
	got := mergeRooms(nil, runs, 1000)
	kept, more := cut(got, 1000)
	if len(got) != 5 || len(kept) != 4 || !more {
		t.Errorf("%d events were taken and %d kept, more is %v", len(got), len(kept), more)
	}
}

// BenchmarkTailOfManyRooms measures the first page of 100 rooms, in which the tail has 20,000 events.
func BenchmarkTailOfManyRooms(b *testing.B) {
	rooms := make([][]*event.Event, 100)
	for offset := range event.Offset(20_000) {
		room := offset % 100
		rooms[room] = append(rooms[room], &event.Event{Offset: offset, Room: event.MustRoom(fmt.Sprint(room))})
	}
	runs := make([][]*event.Event, len(rooms))
	var dst []*event.Event
	b.ReportAllocs()
	for b.Loop() {
		copy(runs, rooms)
		dst = mergeRooms(dst[:0], runs, 1001)
	}
}
