package tail

import (
	"slices"
	"time"

	"github.com/culvertmq/culvert/event"
)

// Behind is how long ago the first event after a position was stored: how far a
// client that acknowledges it is behind, and 0 at the head. Of a position older
// than the tail only the tail's own age is known, which is less than it is.
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
