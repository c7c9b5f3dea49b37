package batch

import "context"

// Ticket is what a Queue knows of an item: its caller, its load, and its answer. Items embed it.
type Ticket struct {
	Caller Caller
	Load   Load

	err  error
	done chan struct{}
}

// NewTicket returns the ticket of an item that is not answered yet.
func NewTicket(c Caller, l Load) Ticket { return Ticket{Caller: c, Load: l, done: make(chan struct{})} }

// Answer ends the wait for the item. Only the goroutine that has taken the item may call it, and only once.
func (t *Ticket) Answer(err error) {
	t.err = err
	close(t.done)
}

// Answered reports whether the item has its answer.
func (t *Ticket) Answered() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// Wait blocks until the item is answered or ctx ends. Errors: the answer's, and ctx's; after ctx's the item may
// still be stored.
func (t *Ticket) Wait(ctx context.Context) error {
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *Ticket) ticket() *Ticket { return t }

// Item is what embeds a Ticket.
type Item interface{ ticket() *Ticket }
