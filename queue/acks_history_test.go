package queue

import (
	"errors"
	"testing"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
)

// Two acknowledgements of one client wait together, and one is of a history that the log lost: the other one
// counts, whichever came first.
func TestAcksOfTwoHistoriesThatWaitTogether(t *testing.T) {
	before := &lineage.Lineage{Log: "k", Runs: []lineage.Run{{First: 0, Last: event.MaxOffset}}}
	now := &lineage.Lineage{Log: "k", Runs: []lineage.Run{{First: 0, Last: 5}, {First: 100, Last: event.MaxOffset}}}
	copied := &lineage.Lineage{Log: "c", Runs: []lineage.Run{{First: 0, Last: event.MaxOffset}}}
	type ack struct {
		of     *lineage.Lineage
		cursor event.Offset
		err    error
	}
	for name, acks := range map[string][2]ack{
		"lost, then kept":       {{before, 8, event.ErrBeyondHead}, {now, 4, nil}},
		"kept, then lost":       {{now, 4, nil}, {before, 8, event.ErrBeyondHead}},
		"lost, then newer":      {{before, 8, event.ErrBeyondHead}, {now, 101, nil}},
		"newer, then lost":      {{now, 101, nil}, {before, 8, event.ErrBeyondHead}},
		"both are kept":         {{before, 3, nil}, {now, 5, nil}},
		"both, the other way":   {{now, 5, nil}, {before, 3, nil}},
		"another log":           {{before, 8, event.ErrOtherLog}, {copied, 1, nil}},
		"one history, backward": {{now, 5, nil}, {now, 4, nil}},
	} {
		a := newAcks(Options{QueueEvents: 10, QueueBytes: 1 << 20}, &postgres.Pools{}, nil, nil, nil)
		key := clientKey{event.MustNamespace("default"), event.MustClient("bob")}
		var want event.Offset
		for i, k := range acks {
			p, err := a.add(key, k.of, k.cursor)
			if p != nil && i == 0 {
				defer func() {
					var got error
					if p.Answered() {
						got = p.Wait(t.Context())
					}
					if !errors.Is(got, k.err) {
						t.Errorf("%s: the first is answered %v, want %v", name, got, k.err)
					}
				}()
			}
			if i == 1 && !errors.Is(err, k.err) {
				t.Errorf("%s: the second is answered %v, want %v", name, err, k.err)
			}
			if k.err == nil {
				want = max(want, k.cursor)
			}
		}
		p := a.waiting[key]
		last := acks[1].of
		if last == before {
			last = now
		}
		if p.cursor != want || p.refused(last) != nil {
			t.Errorf("%s: %d is to be stored, %v; want %d", name, p.cursor, p.refused(last), want)
		}
	}
}

// A cursor that was checked before a restart does not acknowledge events stored after it.
func TestAckOfAPositionLostMeanwhile(t *testing.T) {
	old := &lineage.Lineage{Log: "k", Runs: []lineage.Run{{First: 0, Last: event.MaxOffset}}}
	now := &lineage.Lineage{Log: "k", Runs: []lineage.Run{{First: 0, Last: 5}, {First: 100, Last: event.MaxOffset}}}
	for cursor, want := range map[event.Offset]bool{5: true, 7: false, 101: false} {
		p := &pendingAck{cursor: cursor, of: old}
		if err := p.refused(now); (err == nil) != want {
			t.Errorf("%d: %v", cursor, err)
		}
		if err := p.refused(old); err != nil {
			t.Errorf("cursor %d is refused in the history in which it was checked: %v", cursor, err)
		}
	}
}
