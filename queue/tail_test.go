package queue

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func testTail(l *lineage, head Offset) *tail {
	t := newTail(l, head, 100, 1<<20, prometheus.NewCounter(prometheus.CounterOpts{Name: "dropped"}))
	t.heard = func([]*Event) {}
	return t
}

// What Postgres said of a client before the log lost its end, or before the tail started
// over, is asked again: entries about the client may have been missed since.
func TestStaysAskedForBeforeTheTailStartedOverAreAskedAgain(t *testing.T) {
	before := &lineage{log: "k", runs: []run{{0, MaxOffset}}}
	after := &lineage{log: "k", runs: []run{{0, 5}, {100, MaxOffset}}}
	for name, change := range map[string]func(*tail){
		"another history": func(at *tail) { at.adopt(after, 5) },
		"started over":    func(at *tail) { at.reset(before, 50) },
	} {
		at := testTail(before, 10)
		s := &Subscription{q: &Queue{tail: at}, in: Interest{Namespace: Namespace{"default"}, Client: Client{"bob"}}}
		at.watch(s)
		change(at) // while Postgres is asked
		at.sit(s, []stay{forever(Room{"left meanwhile"})}, 10)
		if s.known != unread {
			t.Errorf("%s: stays known up to 10 are taken for those of now", name)
		}
		at.ask(s)
		if at.sit(s, nil, 50); s.known != 50 {
			t.Errorf("%s: after another look they are known up to %d", name, s.known)
		}
	}
}

// Between two histories the tail is of one and what is read of the other: the head of one
// says nothing about how far the other was read.
func TestTheHeadIsOfOneHistory(t *testing.T) {
	before := &lineage{log: "k", runs: []run{{0, MaxOffset}}}
	after := &lineage{log: "k", runs: []run{{0, 5}, {100, MaxOffset}}}
	at := testTail(before, 10)
	s := &Subscription{q: &Queue{tail: at}, cursor: Cursor{"k", 3}}
	at.sit(s, nil, 10)
	at.adopt(after, 120)
	if head := at.headOf(before); head != 0 {
		t.Errorf("the head of the history before is told as %d", head)
	}
	if head := at.headOf(after); head != 120 {
		t.Errorf("the head is told as %d", head)
	}
	if _, _, ok, err := at.staysOf(s, before); ok || err != nil {
		t.Errorf("the history before can be read up to the head of another: %v", err)
	}
	if head, _, ok, err := at.staysOf(s, after); !ok || err != nil || head.Offset != 120 {
		t.Errorf("read up to %v, %v, %v", head, ok, err)
	}
}
