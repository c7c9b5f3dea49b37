package stress

import (
	"sync"
	"sync/atomic"
	"time"
)

// fact is what the publisher of an event knows about it.
type fact struct {
	name      string
	namespace string
	rooms     []string
	keyed     bool
	publisher int
	fate      fate
	offset    int64     // as confirmed; 0 for SQL, which does not return it
	begun     time.Time // when the first try began
	confirmed time.Time
}

// facts is what all publishers know, and how far anybody has seen the log go.
type facts struct {
	mu    sync.Mutex
	named map[string]*fact
	order map[int][]*fact // confirmed ones of each publisher, in order

	known  atomic.Int64 // the highest offset that anybody was told
	cursor atomic.Value // a cursor near the head, with its epoch
}

func newFacts() *facts { return &facts{named: map[string]*fact{}, order: map[int][]*fact{}} }

// plan notes events that are about to be tried: until more is known, they may be
// stored or not.
func (f *facts) plan(all ...*fact) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range all {
		e.fate, e.begun = unknown, time.Now()
		f.named[e.name] = e
	}
}

// settle notes the outcome of planned events.
func (f *facts) settle(how fate, all ...*fact) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range all {
		e.fate = how
		if how == stored {
			e.confirmed = time.Now()
			f.order[e.publisher] = append(f.order[e.publisher], e)
		}
		f.tell(e.offset)
	}
}

// tell notes that somebody was told an offset.
func (f *facts) tell(offset int64) {
	for {
		now := f.known.Load()
		if offset <= now || f.known.CompareAndSwap(now, offset) {
			return
		}
	}
}
