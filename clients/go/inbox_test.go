package culvert

import "testing"

// After a gap the client continues at the gap's end, also for a reason that only a later server knows. Lower
// offsets count as seen only after a gap of retention.
func TestAGapLeadsBack(t *testing.T) {
	for reason, again := range map[string]bool{"pruned": false, "log": true, "rewound": true, "of a later server": true} {
		var i inbox
		i.take(&Event{Offset: 10}, "k:10")
		if !i.skip(Gap{From: "k:10", To: "k:5", Reason: reason}) || i.cursor != "k:5" {
			t.Errorf("%s: continues at %s", reason, i.cursor)
		}
		if i.seen(&Event{Offset: 7}) == again {
			t.Errorf("%s: events that came instead are taken for repeats: %v", reason, again)
		}
	}
}
