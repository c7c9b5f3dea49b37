package queue

import (
	"strconv"
	"strings"
	"sync"

	"github.com/culvertmq/culvert/event"
)

// replyEvent is the name of the event that tells the emitter of a reply.
const replyEvent = event.ReservedPrefix + "reply"

// waiters are the calls of Await, by the event whose replies they wait for. They learn of replies from the
// tail, whichever instance stored them.
type waiters struct {
	mu      sync.Mutex
	byEvent map[event.Offset]map[chan struct{}]struct{}
}

func newWaiters() *waiters { return &waiters{byEvent: map[event.Offset]map[chan struct{}]struct{}{}} }

// join registers a waiter; leave must be called.
func (w *waiters) join(to event.Offset) (wake <-chan struct{}, leave func()) {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byEvent[to] == nil {
		w.byEvent[to] = map[chan struct{}]struct{}{}
	}
	w.byEvent[to][c] = struct{}{}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if delete(w.byEvent[to], c); len(w.byEvent[to]) == 0 {
			delete(w.byEvent, to)
		}
	}
}

// wakeFor wakes the waiters that the events concern. nil wakes all: the tail started over and may have missed
// replies.
func (w *waiters) wakeFor(events []*event.Event) {
	for _, e := range events {
		if e.Name == replyEvent {
			w.wake(askOf(e.Data))
		}
	}
	if events == nil {
		w.wakeAll()
	}
}

func (w *waiters) wake(to event.Offset) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.byEvent[to] {
		notify(c)
	}
}

func (w *waiters) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, all := range w.byEvent {
		for c := range all {
			notify(c)
		}
	}
}

// askOf returns the event that a culvert:reply answers: see replyData.
func askOf(data string) event.Offset {
	rest, _ := strings.CutPrefix(data, `{"to":`)
	digits, _, _ := strings.Cut(rest, ",")
	to, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0
	}
	return event.Offset(to)
}

// notify wakes the goroutine that receives from a channel of capacity 1.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
