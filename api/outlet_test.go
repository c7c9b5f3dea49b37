package api

import (
	"testing"
	"time"
)

// TestEveryWriteHasTime: the deadline is not moved for each write, but far enough
// ahead for each.
func TestEveryWriteHasTime(t *testing.T) {
	inBubble(t, &memory{}, "", "", sseType, func(b *bench) {
		moved := map[time.Time]bool{}
		for range 200 {
			b.emit("1")
			if left := time.Until(b.w.deadline); left < b.h.o.WriteTimeout*3/4-time.Second || left > b.h.o.WriteTimeout {
				t.Fatalf("a write has %v of %v", left, b.h.o.WriteTimeout)
			}
			moved[b.w.deadline] = true
			time.Sleep(300 * time.Millisecond)
		}
		if len(moved) > 60 {
			t.Errorf("moved %d times for 200 writes", len(moved))
		}
	})
}
