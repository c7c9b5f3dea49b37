package queue

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What mergeRooms takes is what sorting everything would have in front.
func TestRoomsAreMergedInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var runs [][]*Event
		var all []*Event
		for room := range rapid.IntRange(0, 9).Draw(t, "rooms") {
			var run []*Event
			for offset := range Offset(40) {
				if rapid.IntRange(0, 3).Draw(t, "event") == 0 {
					run = append(run, &Event{Offset: offset, Room: Room{fmt.Sprint(room)}})
				}
			}
			if len(run) > 0 {
				runs, all = append(runs, run), append(all, run...)
			}
		}
		runs = rapid.Permutation(runs).Draw(t, "runs")
		limit := rapid.IntRange(1, 50).Draw(t, "limit")
		slices.SortFunc(all, func(a, b *Event) int {
			return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Room.String(), b.Room.String()))
		})
		all = slices.CompactFunc(all, func(a, b *Event) bool { return a.Offset == b.Offset })
		want := all[:min(len(all), limit)]
		if got := mergeRooms(nil, runs, limit); !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

// It takes one event over maxBatch bytes, from which cut knows that there is more.
func TestMergingEndsAtManyBytes(t *testing.T) {
	large := strings.Repeat("x", maxBatch/4)
	var runs [][]*Event
	for room := range 4 {
		var run []*Event
		for i := range Offset(4) {
			run = append(run, &Event{Offset: 4*i + Offset(room), Room: Room{fmt.Sprint(room)}, Data: large})
		}
		runs = append(runs, run)
	}
	got := mergeRooms(nil, runs, 1000)
	kept, more := cut(got, 1000)
	if len(got) != 5 || len(kept) != 4 || !more {
		t.Errorf("%d events were taken and %d kept, more is %v", len(got), len(kept), more)
	}
}

// BenchmarkTailOfManyRooms is the first page of 100 rooms, in which the tail has 20,000 events.
func BenchmarkTailOfManyRooms(b *testing.B) {
	rooms := make([][]*Event, 100)
	for offset := range Offset(20_000) {
		room := offset % 100
		rooms[room] = append(rooms[room], &Event{Offset: offset, Room: Room{fmt.Sprint(room)}})
	}
	runs := make([][]*Event, len(rooms))
	var dst []*Event
	b.ReportAllocs()
	for b.Loop() {
		copy(runs, rooms)
		dst = mergeRooms(dst[:0], runs, 1001)
	}
}

// BenchmarkExceptions is a page of 1,000 events of which each excepts 100 rooms, for a client
// in 1,000 others.
func BenchmarkExceptions(b *testing.B) {
	all := make(attachments, 1000)
	for i := range all {
		all[i].interval = forever(Room{fmt.Sprint("mine-", i)})
	}
	except := make([]Room, 100)
	for i := range except {
		except[i] = Room{fmt.Sprint("other-", i)}
	}
	events := make([]*Event, 1000)
	for i := range events {
		events[i] = &Event{Offset: Offset(i), Except: except}
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(notExcepted(events, all)) != len(events) {
			b.Fatal("the client is in none of the rooms")
		}
	}
}
