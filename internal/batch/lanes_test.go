package batch

import (
	"fmt"
	"slices"
	"testing"
)

func TestLanesTakeTurns(t *testing.T) {
	var q lanes[string]
	large, small := Load{1, 100, 300_000}, Load{1, 1, 800}
	for i := range 50 {
		q.push(Caller{"attacker", "m"}, fmt.Sprint("m", i), large)
		q.push(Caller{"attacker", "n"}, fmt.Sprint("n", i), large)
	}
	q.push(Caller{"attacker", "neighbour"}, "neighbour", small)
	q.push(Caller{"victim", "v"}, "v0", small)
	q.push(Caller{"victim", "v"}, "v1", small)

	var got []string
	for !q.empty() {
		batch, _ := q.take(Load{1000, 1000, 1 << 20})
		got = append(got, batch...)
	}
	if len(got) != 103 {
		t.Fatalf("%d of 103 items came out", len(got))
	}
	if i := slices.Index(got, "v1"); i > 4 || got[i-1] != "v0" {
		t.Errorf("the victim's second item comes at %d, after %v", i, got[:i])
	}
	if i := slices.Index(got, "neighbour"); i > 8 {
		t.Errorf("a small item of the attacker's namespace comes at %d", i)
	}
	for _, of := range []string{"m", "n"} {
		last := -1
		for _, name := range got {
			var n int
			if _, err := fmt.Sscanf(name, of+"%d", &n); err == nil {
				if n != last+1 {
					t.Fatalf("%s comes after %s%d", name, of, last)
				}
				last = n
			}
		}
	}
}

// A steady flow of new callers does not delay an old one.
func TestNewLanesDoNotShutOutOldOnes(t *testing.T) {
	var q lanes[string]
	one := Load{1, 1, 1000}
	for range 10 {
		q.push(Caller{"ns", "old"}, "old", one)
	}
	come := 0
	arrive := func() {
		come++
		q.push(Caller{"ns", fmt.Sprint("new", come)}, "new", one)
	}
	for range 8 { // eight others wait at any time, each of them for the first time
		arrive()
	}
	old := 0
	for range 150 {
		who, _, _ := q.next()
		q.pop()
		if who == "old" {
			old++
		} else {
			arrive()
		}
	}
	if old < 10 {
		t.Errorf("%d of 150 turns went to the caller that was there before, want 10", old)
	}
}

func TestLanesBoundABatch(t *testing.T) {
	most := Load{Events: 10, Rooms: 50, Bytes: 1000}
	for name, one := range map[string]Load{"events": {1, 1, 1}, "rooms": {1, 5, 1}, "bytes": {1, 1, 100}} {
		var q lanes[int]
		for i := range 30 {
			q.push(Caller{"n", fmt.Sprint(i % 3)}, i, one)
		}
		if batch, _ := q.take(most); len(batch) != 10 {
			t.Errorf("bounded by %s a batch has %d items, not 10", name, len(batch))
		}
	}
	var q lanes[int]
	q.push(Caller{}, 1, Load{1, 1000, 1 << 30})
	if batch, _ := q.take(most); len(batch) != 1 {
		t.Error("an item over the bound is never taken")
	}
}

// A new caller gets in even while others hold all that they may.
func TestQuotaLeavesRoomForOthers(t *testing.T) {
	s := quota{most: Load{Events: 10_000, Bytes: 64 << 20}}
	one := Load{1, 100, 256 << 10}
	fill := func(c Caller) (n int) {
		for s.take(c, one) {
			n++
		}
		return n
	}
	first := fill(Caller{"attacker", "m"})
	if first < 150 || first > 180 {
		t.Errorf("a client alone gets %d of 256 places", first)
	}
	for i := range 20 {
		fill(Caller{"attacker", fmt.Sprint("m", i)})
	}
	if !s.take(Caller{"victim", "v"}, Load{1, 1, 1000}) {
		t.Error("the victim does not get in beside one namespace")
	}
	for i := range 3 {
		fill(Caller{fmt.Sprint("attacker", i), ""})
	}
	if !s.take(Caller{"victim", "v"}, one) {
		t.Error("the victim does not get in beside four namespaces")
	}
	if s.held.Bytes > s.most.Bytes {
		t.Errorf("%d bytes are held", s.held.Bytes)
	}
	for c, l := range s.clients {
		s.free(c, l)
	}
	if s.held != (Load{}) || len(s.spaces)+len(s.clients) != 0 {
		t.Errorf("something is left: %+v", s)
	}
}
