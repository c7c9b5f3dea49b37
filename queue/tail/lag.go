package tail

import (
	"slices"
	"time"

	"github.com/culvertmq/culvert/event"
)

// Behind returns how long ago the first event after o was stored. A client that acknowledges o is behind
// by this much; at the head it is 0. If o is older than the tail, Behind returns the age of the tail's oldest event, which
// is too little.
func (t *Tail) Behind(o event.Offset, now time.Time) time.Duration {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := t.ring.all()
	i, _ := slices.BinarySearchFunc(all, o+1, func(n entry, o event.Offset) int { return int(n.event.Offset - o) })
	if i == len(all) {
		return 0
	}
	return max(0, now.Sub(all[i].event.At))
}
