package api

import (
	"testing"
	"time"
)

// TestEveryWriteHasTime: the deadline is not moved for each write, but each has almost all of its time.
func TestEveryWriteHasTime(t *testing.T) {
	inBubble(t, &memory{}, "", "", sseType, func(b *bench) {
		moved := map[time.Time]bool{}
		for range 400 {
			b.emit("1")
			if left := time.Until(b.w.deadline); left < b.h.o.WriteTimeout*15/16 || left > b.h.o.WriteTimeout {
				t.Fatalf("a write has %v of %v", left, b.h.o.WriteTimeout)
			}
			moved[b.w.deadline] = true
			time.Sleep(100 * time.Millisecond)
		}
		if len(moved) > 50 {
			t.Errorf("moved %d times for 400 writes", len(moved))
		}
	})
}
