package tail

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
)

// bob returns a reader of a client that is in these rooms.
func bob(tl *Tail, rooms ...string) *Reader {
	rd := tl.NewReader(ReaderOptions{
		Namespace: event.MustNamespace("default"), Client: event.MustClient("bob"), Keep: time.Hour,
	})
	var all []Interval
	for _, r := range rooms {
		all = append(all, Forever(event.MustRoom(r)))
	}
	rd.Attach(all, tl.Position().Offset)
	return rd
}

// store adds an event to a room at the end of the tail.
func store(tl *Tail, room string) event.Offset {
	head := tl.Position().Offset
	tl.Extend(openLog, head, head+1, []*event.Event{eventAt(head+1, room, "1")})
	return head + 1
}

// change adds a change of bob's memberships.
func change(tl *Tail, name, room string) event.Offset {
	at := tl.Position()
	at.Offset++
	m := Membership{
		Name: name, Namespace: event.MustNamespace("default"), Client: event.MustClient("bob"), Room: event.MustRoom(room),
	}
	tl.Extend(openLog, at.Offset-1, at.Offset, []*event.Event{m.Event(at, time.Now())})
	return at.Offset
}

func isWoken(rd *Reader) bool {
	select {
	case <-rd.Wake():
		return true
	default:
		return false
	}
}

// offsets returns the positions of what a reader reads after a position.
func offsets(t *testing.T, rd *Reader, after event.Offset) (all []event.Offset) {
	t.Helper()
	r, ok := rd.Read(event.Cursor{Log: "k", Offset: after}, 0, 100, nil)
	if !ok {
		t.Fatal("the tail cannot tell what the reader gets")
	}
	for _, e := range r.Events {
		all = append(all, e.Offset)
	}
	return all
}

// A reader that rests is not woken. When it resumes, it reads what came meanwhile and is woken for what comes later.
func TestAReaderThatRestsIsNotWoken(t *testing.T) {
	tl := testTail(openLog, 10)
	rd := bob(tl, "a", "empty")
	rd.Rest()
	if n := len(tl.rooms); n != 0 {
		t.Errorf("%d rooms are kept for a reader that rests", n)
	}
	first := store(tl, "a")
	tl.WakeAll()
	if isWoken(rd) {
		t.Error("a reader that rests is woken")
	}
	if !rd.Resume() {
		t.Fatal("the reader is at its end")
	}
	if got := offsets(t, rd, 10); !slices.Equal(got, []event.Offset{first}) {
		t.Errorf("after its rest the reader gets the events at %v, want %d", got, first)
	}
	for _, r := range []string{"a", "empty", "*", "@bob"} {
		isWoken(rd)
		at := store(tl, r)
		if !isWoken(rd) {
			t.Errorf("a reader that has resumed is not woken for an event of %s", r)
		}
		if got := offsets(t, rd, at-1); !slices.Equal(got, []event.Offset{at}) {
			t.Errorf("of %s it gets the events at %v, want %d", r, got, at)
		}
	}
}

// Changes of memberships that come during the rest hold, and put the reader into no room until it resumes.
func TestMembershipsChangeWhileAReaderRests(t *testing.T) {
	tl := testTail(openLog, 10)
	rd := bob(tl, "a")
	rd.Rest()
	change(tl, Join, "b")
	b1 := store(tl, "b")
	a1 := store(tl, "a")
	change(tl, Leave, "a")
	store(tl, "a")
	if isWoken(rd) {
		t.Error("a reader that rests is woken")
	}
	for key, r := range tl.rooms {
		if len(r.readers) > 0 {
			t.Errorf("a reader that rests is in %v", key)
		}
	}
	rd.Resume()
	if got := offsets(t, rd, 10); !slices.Equal(got, []event.Offset{b1, a1}) {
		t.Errorf("the reader gets the events at %v, want %v", got, []event.Offset{b1, a1})
	}
	if store(tl, "b"); !isWoken(rd) {
		t.Error("the reader is not woken for the room that its client joined meanwhile")
	}
	rd.Rest()
	change(tl, Forget, "a")
	if rd.Resume() {
		t.Error("a reader whose client was forgotten resumes")
	}
}

// The tail keeps nothing of a reader that is closed, whether or not it rests.
func TestAReaderThatIsClosedLeavesNothing(t *testing.T) {
	for _, rest := range []bool{false, true} {
		tl := testTail(openLog, 10)
		rd := bob(tl, "a")
		other := bob(tl, "a")
		if rest {
			rd.Rest()
		}
		rd.Close()
		if store(tl, "a"); !isWoken(other) {
			t.Errorf("the end of another reader, which rests: %v, took a reader out of its room", rest)
		}
		other.Close()
		tl.Reset(openLog, 50)
		if len(tl.rooms) != 0 || len(tl.clients) != 0 {
			t.Errorf("%d rooms and %d clients are left", len(tl.rooms), len(tl.clients))
		}
	}
}

// Volatile events are for readers that are there.
func TestAReaderThatRestsGetsNoVolatileEvents(t *testing.T) {
	tl := testTail(openLog, 10)
	rd := bob(tl, "a")
	publish := func() {
		e := &event.Event{Namespace: "default", Name: "typing", Data: "1", From: event.MustClient("bob")}
		tl.Publish([]*Volatile{{Event: e, To: []event.Room{event.MustRoom("a")}, After: 10}, {Event: e, Signal: true, After: 10}})
	}
	publish()
	rd.Rest()
	publish()
	rd.Resume()
	if n := len(rd.Volatile()); n != 0 {
		t.Errorf("after its rest a reader gets %d volatile events", n)
	}
	if publish(); len(rd.Volatile()) != 2 {
		t.Error("a reader that has resumed does not get both volatile events")
	}
}

// BenchmarkWakeRoom measures an event to a room in which other readers rest: their number must not matter.
func BenchmarkWakeRoom(b *testing.B) {
	for _, resting := range []int{0, 32_000} {
		b.Run(fmt.Sprint(resting, " resting"), func(b *testing.B) {
			tl := New(Options{Events: 1000, Bytes: 1 << 20, Dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "dropped"})})
			tl.Adopt(openLog, 0)
			for i := range resting {
				rd := tl.NewReader(ReaderOptions{Namespace: event.MustNamespace("default"), Client: event.MustClient(fmt.Sprint("c", i))})
				rd.Attach(nil, 0)
				rd.Rest()
			}
			rd := bob(tl)
			for b.Loop() {
				store(tl, "*")
				<-rd.Wake()
			}
		})
	}
}

// BenchmarkRest measures what a poll adds that ends and begins again, for a client in some rooms.
func BenchmarkRest(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprint(n, " rooms"), func(b *testing.B) {
			tl := testTail(openLog, 10)
			var rooms []string
			for i := range n {
				rooms = append(rooms, fmt.Sprint("r", i))
				bob(tl, rooms[i])
			}
			rd := bob(tl, rooms...)
			for b.Loop() {
				rd.Rest()
				rd.Resume()
			}
		})
	}
}
