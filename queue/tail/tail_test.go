package tail

import (
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
)

func testTail(l *lineage.Lineage, head event.Offset) *Tail {
	t := New(Options{Events: 100, Bytes: 1 << 20, Dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "dropped"})})
	t.Adopt(l, head)
	return t
}

// Intervals that Postgres was asked for before the log lost its end, or before the tail started over, are asked
// for again: membership changes may have been missed since.
func TestIntervalsAskedForBeforeTheTailStartedOverAreAskedAgain(t *testing.T) {
	before := &lineage.Lineage{Log: "k", Runs: []lineage.Run{{First: 0, Last: event.MaxOffset}}}
	after := &lineage.Lineage{Log: "k", Runs: []lineage.Run{{First: 0, Last: 5}, {First: 100, Last: event.MaxOffset}}}
	for name, change := range map[string]func(*Tail){
		"another history": func(at *Tail) { at.Adopt(after, 5) },
		"started over":    func(at *Tail) { at.Reset(before, 50) },
	} {
		at := testTail(before, 10)
		rd := at.NewReader(ReaderOptions{Namespace: event.MustNamespace("default"), Client: event.MustClient("bob")})
		change(at) // while Postgres is asked
		rd.Attach([]Interval{Forever(event.MustRoom("left meanwhile"))}, 10)
		if rd.s.known != unread {
			t.Errorf("%s: intervals known up to 10 are taken for the present ones", name)
		}
		rd.Asking()
		if rd.Attach(nil, 50); rd.s.known != 50 {
			t.Errorf("%s: after Postgres was asked again the intervals are known up to %d", name, rd.s.known)
		}
	}
}

// The tail knows how far the log reaches even where it lacks the events, and forgets that after a restore.
func TestTheHeadIsKnownBeforeItIsDelivered(t *testing.T) {
	before := &lineage.Lineage{Log: "k", Runs: []lineage.Run{{First: 0, Last: event.MaxOffset}}}
	at := testTail(before, 10)
	if at.Extend(before, 20, 25, nil) {
		t.Fatal("the tail took events that begin after a gap")
	}
	at.Learn(before, 22)
	if head, has := at.Newest(), at.Position(); head.Offset != 25 || has.Offset != 10 {
		t.Errorf("the head is %v, delivered %v; want 25 and 10", head, has)
	}
	after := &lineage.Lineage{Log: "k", Runs: []lineage.Run{{First: 0, Last: 5}, {First: 100, Last: event.MaxOffset}}}
	at.Learn(after, 200) // not this history yet
	at.Adopt(after, 120)
	if head := at.Newest(); head.Offset != 120 {
		t.Errorf("after a restore the head is %v, want 120", head)
	}
}

// While histories change, the tail may be of one and a read of the other: the head of one says nothing about
// how far the other was read.
func TestTheHeadIsOfOneHistory(t *testing.T) {
	before := &lineage.Lineage{Log: "k", Runs: []lineage.Run{{First: 0, Last: event.MaxOffset}}}
	after := &lineage.Lineage{Log: "k", Runs: []lineage.Run{{First: 0, Last: 5}, {First: 100, Last: event.MaxOffset}}}
	at := testTail(before, 10)
	rd := at.NewReader(ReaderOptions{})
	rd.Attach(nil, 10)
	at.Adopt(after, 120)
	if head := at.HeadOf(before); head != 0 {
		t.Errorf("the head of the history before is %d, want 0", head)
	}
	if head := at.HeadOf(after); head != 120 {
		t.Errorf("the head is %d, want 120", head)
	}
	if _, _, ok, err := rd.Intervals(before, 3); ok || err != nil {
		t.Errorf("the history before can be read up to the head of another: %v", err)
	}
	if head, _, ok, err := rd.Intervals(after, 3); !ok || err != nil || head.Offset != 120 {
		t.Errorf("the intervals are known up to %v, %v, %v", head, ok, err)
	}
}

// The data of an event to many rooms counts once, and each encoded form of it when it is made.
func TestTailCountsDataOnce(t *testing.T) {
	l := &lineage.Lineage{Log: "k", Runs: []lineage.Run{{First: 0, Last: event.MaxOffset}}}
	at := testTail(l, 0)
	many := func(offset event.Offset) (events []*event.Event) {
		data := `"` + strings.Repeat("x", 100_000) + `"`
		for i := range 20 {
			events = append(events, &event.Event{Log: "k", Offset: offset, Namespace: "n", Room: event.MustRoom(strconv.Itoa(i)), Name: "e", Data: data})
		}
		return events
	}
	first := many(1)
	at.Merge(l, 1, first)
	if at.bytes > 150_000 {
		t.Errorf("an event of 100 KB to 20 rooms counts %d bytes", at.bytes)
	}
	encode := func(e *event.Event) []byte { return []byte(e.Data) }
	for _, e := range first[:5] {
		e.Wire("a", encode)
		e.Wire("a", encode)
	}
	if at.bytes < 600_000 || at.bytes > 650_000 {
		t.Errorf("with the encoded forms for 5 of the rooms the tail counts %d bytes", at.bytes)
	}
	for _, e := range first[5:] {
		e.Wire("a", encode)
	}
	if at.bytes > at.o.Bytes {
		t.Errorf("with the encoded forms the tail counts %d bytes, more than it may", at.bytes)
	}
	for offset := range event.Offset(20) {
		for _, e := range many(offset + 2) {
			at.Merge(l, offset+2, []*event.Event{e})
		}
	}
	at.Adopt(&lineage.Lineage{Log: "k", Runs: []lineage.Run{{First: 0, Last: 5}, {First: 1000, Last: event.MaxOffset}}}, 1000)
	if at.bytes != 0 || at.ring.len() != 0 {
		t.Errorf("the empty tail counts %d bytes of %d events", at.bytes, at.ring.len())
	}
}

// Each encoder gets its own encoding of an event, and does not change that of others.
func TestAnEncodingIsOfOneEncoder(t *testing.T) {
	type mine struct{}
	type theirs struct{}
	e := &event.Event{Data: "1"}
	count := 0
	encode := func(*event.Event) []byte { count++; return []byte("theirs") }
	if got := string(e.Wire(mine{}, func(*event.Event) []byte { return []byte("mine") })); got != "mine" {
		t.Errorf("the first encoder gets %s", got)
	}
	for range 2 {
		if got := string(e.Wire(theirs{}, encode)); got != "theirs" {
			t.Errorf("the second encoder gets %s", got)
		}
	}
	if got := string(e.Wire(mine{}, nil)); got != "mine" || count != 2 {
		t.Errorf("after that the first encoder gets %s, and the second has encoded %d times", got, count)
	}
}
