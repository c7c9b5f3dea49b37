package tail

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
)

// numbered returns events with the offsets after prev up to head.
func numbered(prev, head event.Offset, data string) (events []*event.Event) {
	for o := prev + 1; o <= head; o++ {
		events = append(events, &event.Event{Log: "k", Offset: o, Namespace: "n", Room: event.MustRoom("r"), Name: "e", Data: data})
	}
	return events
}

// Events that were appended here beyond a gap are in the tail once the gap was read, in the order of the log,
// each of them once.
func TestWhatCameEarlyWaitsForTheGap(t *testing.T) {
	l := &lineage.Lineage{Log: "k", Runs: []lineage.Run{{First: 0, Last: event.MaxOffset}}}
	at := testTail(l, 0)
	for _, p := range [][2]event.Offset{{5, 8}, {12, 13}, {8, 10}} { // an append and a change of members may come in either order
		if at.Extend(l, p[0], p[1], numbered(p[0], p[1], "1")) {
			t.Fatalf("the tail ends at %d and took what is after %d", at.head, p[0])
		}
	}
	gaps := [][3]event.Offset{{0, 5, 10}, {10, 12, 13}} // from, to, and where the tail is once it was read
	for _, g := range gaps {
		if at, upto := at.ToRead(); at.Offset != g[0] || upto != g[1] {
			t.Fatalf("the gap to be read is from %d to %d", at.Offset, upto)
		}
		at.Merge(l, g[1], numbered(g[0], g[1]-1, "1")) // the last offset belongs to no event
		if at.head != g[2] {
			t.Fatalf("after the gap was read the tail ends at %d, want %d", at.head, g[2])
		}
	}
	if _, upto := at.ToRead(); upto != event.MaxOffset || at.early.events != 0 || at.early.bytes != 0 {
		t.Errorf("%d early events of %d bytes are left", at.early.events, at.early.bytes)
	}
	var got []string
	for _, e := range at.ring.all() {
		got = append(got, strconv.Itoa(int(e.event.Offset)))
	}
	if want := strings.Fields("1 2 3 4 6 7 8 9 10 11 13"); !slices.Equal(got, want) {
		t.Errorf("the tail has %v", got)
	}
	// A read may reach further than asked for.
	at.Extend(l, 15, 18, numbered(15, 18, "1"))
	at.Merge(l, 16, numbered(13, 16, "1"))
	if n := at.ring.len(); at.head != 18 || n != 11+5 {
		t.Errorf("the tail ends at %d with %d events", at.head, n)
	}
}

// Early events take no more memory than the tail has, and none of another history is kept.
func TestWhatCameEarlyIsBounded(t *testing.T) {
	l := &lineage.Lineage{Log: "k", Runs: []lineage.Run{{First: 0, Last: event.MaxOffset}}}
	at := testTail(l, 0)
	at.Merge(l, 90, numbered(0, 90, "1"))
	for prev := event.Offset(100); prev < 200; prev += 10 {
		at.Extend(l, prev, prev+10, numbered(prev, prev+10, "1"))
	}
	if at.early.events != 50 || at.ring.len() != 50 {
		t.Errorf("%d events wait and %d are in a tail of 100", at.early.events, at.ring.len())
	}
	at.Merge(l, 100, nil)
	if at.head != 150 || at.ring.len() != 100 {
		t.Errorf("the tail ends at %d with %d events", at.head, at.ring.len())
	}
	long := strings.Repeat("x", 100_000)
	for prev := event.Offset(160); prev < 200; prev += 2 {
		at.Extend(l, prev, prev+2, numbered(prev, prev+2, long))
	}
	if at.early.bytes > at.o.Bytes/2 || at.bytes+at.early.bytes > at.o.Bytes || at.early.events != 2 {
		t.Errorf("%d events of %d bytes wait, beside %d", at.early.events, at.early.bytes, at.bytes)
	}
	for range 100 { // changes of members that change nothing
		at.Extend(l, 200, 200, nil)
	}
	if n := len(at.early.pieces); n != 1 {
		t.Errorf("%d pieces wait", n)
	}
	next := &lineage.Lineage{Log: "k", Runs: []lineage.Run{{First: 0, Last: 150}, {First: 1000, Last: event.MaxOffset}}}
	at.Adopt(next, 150)
	if _, upto := at.ToRead(); upto != event.MaxOffset || at.early.bytes != 0 {
		t.Errorf("in another history the tail has what comes after %d", upto)
	}
	if at.Extend(l, 1000, 1001, numbered(1000, 1001, "1")); len(at.early.pieces) != 0 {
		t.Error("the tail keeps events of another history")
	}
}
