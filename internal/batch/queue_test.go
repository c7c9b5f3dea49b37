package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertmq/culvert/event"
)

type note struct {
	Ticket
	text string
}

func newNote(client, text string) *note {
	return &note{NewTicket(Caller{"n", client}, Load{Events: 1, Rooms: 1, Bytes: 1}), text}
}

var small = Options{What: "notes", Most: Load{Events: 100, Bytes: 100}, Batch: Load{Events: 2, Rooms: 2, Bytes: 2}}

// Items that come while a batch is written share the next batch, and each gets its own answer.
func TestWhatComesMeanwhileSharesTheNextBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New[*note](small)
		ctx, stop := context.WithCancel(t.Context())
		first, gate := make(chan struct{}), make(chan struct{})
		var batches []string
		bad := errors.New("bad")
		go q.Run(ctx, func(_ context.Context, batch []*note) {
			if len(batches) == 0 {
				close(first)
				<-gate
			}
			text := ""
			for _, n := range batch {
				text += n.text
				if n.text == "c" {
					n.Answer(bad)
				} else {
					n.Answer(nil)
				}
			}
			batches = append(batches, text)
		})
		var notes []*note
		for i, text := range []string{"a", "b", "c", "d"} {
			n := newNote("x", text)
			notes = append(notes, n)
			if err := q.Submit(n); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				<-first
			}
		}
		close(gate)
		if err := q.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(batches); got != "[a bc d]" {
			t.Errorf("batches are %s, want [a bc d]", got)
		}
		for _, n := range notes {
			if err := n.Wait(t.Context()); (n.text == "c") != errors.Is(err, bad) {
				t.Errorf("%s: %v", n.text, err)
			}
		}
		if err := q.Submit(newNote("x", "e")); !errors.Is(err, event.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		stop()
	})
}

// Close waits for held items and for items that are put back; their order is kept.
func TestCloseWaitsForWhatIsHeld(t *testing.T) {
	q := New[*note](small)
	a, b, c := newNote("x", "a"), newNote("x", "b"), newNote("x", "c")
	for _, n := range []*note{a, b, c} {
		if err := q.Submit(n); err != nil {
			t.Fatal(err)
		}
	}
	taken := q.Take()
	for _, n := range taken {
		q.Hold(n)
	}
	if l := q.Waiting(); l.Events != 3 {
		t.Errorf("%d items wait, want 3", l.Events)
	}
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := q.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("closed with items under way: %v", err)
	}
	if batch := q.Take(); len(batch) != 1 || batch[0] != c {
		t.Errorf("beside the held item, Take returns %v", batch)
	}
	q.PutBack(c)
	q.Return(taken...)
	var order []string
	for batch := q.Take(); len(batch) > 0; batch = q.Take() {
		for _, n := range batch {
			order = append(order, n.text)
			n.Answer(nil)
		}
	}
	if !slices.Equal(order, []string{"a", "b", "c"}) {
		t.Errorf("the items come in the order %v", order)
	}
	if err := q.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if l := q.Waiting(); l != (Load{}) {
		t.Errorf("something is left: %+v", l)
	}
}

// Items that wait when the work ends are answered, and so are items that are put back later.
func TestWhatWaitsAtTheEndIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New[*note](small)
		ctx, stop := context.WithCancel(t.Context())
		held, waits := newNote("x", "held"), newNote("y", "waits")
		var under *note
		go q.Run(ctx, func(ctx context.Context, batch []*note) {
			under = batch[0]
			q.Hold(under)
			<-ctx.Done()
		})
		_ = q.Submit(held)
		synctest.Wait()
		_ = q.Submit(waits)
		stop()
		synctest.Wait()
		q.Return(under)
		for _, n := range []*note{held, waits} {
			if err := n.Wait(t.Context()); !errors.Is(err, event.ErrClosed) {
				t.Errorf("%s: %v", n.text, err)
			}
		}
		if err := q.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAFullQueueRefusesAllOfACall(t *testing.T) {
	q := New[*note](small)
	n := 0
	for q.Submit(newNote(fmt.Sprint(n%30), "x")) == nil {
		n++
	}
	before := q.Waiting()
	if err := q.Submit(newNote("z", "1"), newNote("z", "2")); !errors.Is(err, event.ErrOverloaded) || q.Waiting() != before {
		t.Errorf("two more in a full queue: %v, %+v", err, q.Waiting())
	}
	if n < 70 || n > 90 {
		t.Errorf("one namespace filled %d of 100 places", n)
	}
}
