package tail

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
)

func eventAt(o event.Offset, room, data string) *event.Event {
	return &event.Event{
		Log: "k", Offset: o, Namespace: "default", Room: event.MustRoom(room), Name: "greeting", Data: data,
	}
}

// readBy returns the offsets and rooms that a reader of these rooms gets after a position.
func readBy(t *testing.T, tl *Tail, after event.Offset, rooms ...string) (got []string, ok bool) {
	t.Helper()
	o := ReaderOptions{Namespace: event.MustNamespace("default")}
	for _, r := range rooms {
		o.Rooms = append(o.Rooms, event.MustRoom(r))
	}
	rd := tl.NewReader(o)
	defer rd.Close()
	rd.Attach(nil, 0)
	r, ok := rd.Read(event.Cursor{Log: "k", Offset: after}, 0, 100, nil)
	for _, e := range r.Events {
		got = append(got, fmt.Sprint(e.Offset, e.Room))
	}
	return got, ok
}

var openLog = &lineage.Lineage{Log: "k", Runs: []lineage.Run{{First: 0, Last: event.MaxOffset}}}

// Events from before the tail began come in front of those it has, and readers get both in order. Nobody is woken.
func TestOlderEventsPrecedeTheTail(t *testing.T) {
	woken := 0
	observe := func(all []*event.Event) { woken += len(all) }
	tl := New(Options{Events: 100, Bytes: 1 << 20, Observers: []func([]*event.Event){observe}})
	tl.Adopt(openLog, 20)
	rd := tl.NewReader(ReaderOptions{Namespace: event.MustNamespace("default"), Rooms: []event.Room{event.MustRoom("a")}})
	rd.Attach(nil, 0)
	if !tl.Precede(openLog, 15, 20, []*event.Event{eventAt(18, "a", "1"), eventAt(19, "b", "1")}) {
		t.Fatal("there is no room for older events")
	}
	tl.Extend(openLog, 20, 21, []*event.Event{eventAt(21, "a", "1")})
	<-rd.Wake()
	if !tl.Precede(openLog, 10, 15, []*event.Event{eventAt(12, "a", "1"), eventAt(12, "b", "1"), eventAt(15, "a", "1")}) {
		t.Fatal("there is no room for events of another page")
	}
	select {
	case <-rd.Wake():
		t.Error("a reader was woken for old events")
	default:
	}
	if woken != 1 {
		t.Errorf("observers were told of %d events, not of the new one alone", woken)
	}
	want := []string{"12 a", "15 a", "18 a", "19 b", "21 a"}
	if got, ok := readBy(t, tl, 10, "a", "b"); !ok || !slices.Equal(got, want) {
		t.Errorf("a reader gets %v, %v", got, ok)
	}
	if _, ok := readBy(t, tl, 9, "a"); ok {
		t.Error("the tail answers a reader from before its beginning")
	}
}

// What the tail has stays without a hole: old events are taken only right in front of it, and of its own history.
func TestOlderEventsThatDoNotFitTheTail(t *testing.T) {
	other := &lineage.Lineage{Log: "other", Runs: []lineage.Run{{First: 0, Last: event.MaxOffset}}}
	older := func() []*event.Event { return []*event.Event{eventAt(4, "a", "1")} }
	for name, change := range map[string]func(*Tail) *lineage.Lineage{
		"the tail started over": func(tl *Tail) *lineage.Lineage { tl.Reset(openLog, 50); return openLog },
		"another log":           func(tl *Tail) *lineage.Lineage { tl.Adopt(other, 10); return openLog },
		"the tail is full": func(tl *Tail) *lineage.Lineage {
			for o := event.Offset(11); o < 200; o++ {
				tl.Extend(openLog, o-1, o, []*event.Event{eventAt(o, "a", "1")})
			}
			return openLog
		},
	} {
		tl := testTail(openLog, 10)
		l := change(tl)
		floor := tl.Floor()
		if tl.Precede(l, 3, 10, older()) || tl.Floor() != floor {
			t.Errorf("%s: the tail took events from before a hole and begins at %d, not at %d", name, tl.Floor(), floor)
		}
	}
}

// Old events take no more memory than others, and the newest of them stay.
func TestOlderEventsAreBounded(t *testing.T) {
	for name, o := range map[string]Options{
		"events": {Events: 3, Bytes: 1 << 20}, "bytes": {Events: 100, Bytes: 3 * SizeOf(10_000)},
	} {
		o.Dropped = prometheus.NewCounter(prometheus.CounterOpts{Name: "dropped"})
		tl := New(o)
		tl.Adopt(openLog, 10)
		long := `"` + strings.Repeat("x", 9_998) + `"`
		page := []*event.Event{eventAt(7, "a", long), eventAt(8, "a", long), eventAt(9, "b", long), eventAt(10, "a", long)}
		if tl.Precede(openLog, 0, 10, page) {
			t.Errorf("%s: there is room for more", name)
		}
		if got, ok := readBy(t, tl, 7, "a", "b"); !ok || !slices.Equal(got, []string{"8 a", "9 b", "10 a"}) {
			t.Errorf("%s: a reader gets %v, %v", name, got, ok)
		}
		if _, ok := readBy(t, tl, 6, "a"); ok {
			t.Errorf("%s: the tail answers for an event that it does not have", name)
		}
		if tl.Precede(openLog, 0, 10, nil) {
			t.Errorf("%s: a tail that is full takes older events", name)
		}
	}
}
