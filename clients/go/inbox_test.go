package culvert

import "testing"

// A gap leads on at its end whatever its reason, also one that a later server invents; only
// after retention are lower offsets still those that were seen.
func TestAGapLeadsBack(t *testing.T) {
	for reason, again := range map[string]bool{"pruned": false, "log": true, "rewound": true, "of a later server": true} {
		var i inbox
		i.take(&Event{Offset: 10}, "k:10")
		if !i.skip(Gap{From: "k:10", To: "k:5", Reason: reason}) || i.cursor != "k:5" {
			t.Errorf("%s: goes on at %s", reason, i.cursor)
		}
		if i.seen(&Event{Offset: 7}) == again {
			t.Errorf("%s: what came instead is taken for a repeat: %v", reason, again)
		}
	}
}
