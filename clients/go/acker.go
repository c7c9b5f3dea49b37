package culvert

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	ackPause     = time.Second     // many acknowledgements become one
	carryPause   = 4 * time.Second // the next poll comes sooner, even after one that is not held, and carries the acknowledgement
	flushAtClose = 3 * time.Second // what a person waits after Ctrl-C
)

// part is a received position that is not handled yet.
type part struct {
	at     place
	done   bool
	stored bool // it is the position of a stored event
}

// acker acknowledges what was handled, in order: a cursor is acknowledged once everything up to it
// was handled. Many acknowledgements become one request, or the next attempt to receive carries
// them if it can.
type acker struct {
	o        Options
	requests *requests
	kick     chan struct{} // something is due

	polls atomic.Bool // events come by polls

	mu      sync.Mutex
	parts   []*part
	handled place  // everything up to here was handled
	pending string // handled and not acknowledged
	owed    bool   // pending needs a request if no poll carries it
	since   time.Time
}

func newAcker(o Options, r *requests, from place) *acker {
	return &acker{o: o, requests: r, kick: make(chan struct{}, 1), handled: from}
}

// begin notes that a position was received.
func (a *acker) begin(at place, due bool) *part {
	p := &part{at: at, stored: due}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.parts = append(a.parts, p)
	return p
}

// finish notes that a position was handled.
func (a *acker) finish(p *part) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.done = true
	for len(a.parts) > 0 && a.parts[0].done {
		p, a.parts = a.parts[0], a.parts[1:]
		offset := max(a.handled.offset, p.at.offset)
		if a.handled.log != p.at.log {
			offset = p.at.offset
		}
		a.handled = place{p.at.log, p.at.cursor, offset}
		if a.o.NoAck || p.at.cursor == "" {
			continue
		}
		a.pending = p.at.cursor
		if p.stored && !a.owed {
			a.owed, a.since = true, time.Now()
		}
	}
	if a.owed {
		select {
		case a.kick <- struct{}{}:
		default:
		}
	}
}

// carry returns the cursor that the next attempt to receive can acknowledge.
func (a *acker) carry() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pending
}

// confirm notes that a cursor is acknowledged, or that the server refused it for good.
func (a *acker) confirm(cursor string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pending == cursor {
		a.pending, a.owed = "", false
	}
}

// position returns the position up to which everything was handled.
func (a *acker) position() place {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.handled
}

// run acknowledges what no poll carried, until ctx ends.
func (a *acker) run(ctx context.Context) {
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.kick:
		}
		for wait := a.wait(); wait > 0 && ctx.Err() == nil; wait = a.wait() {
			pause(ctx, wait)
		}
		for ctx.Err() == nil {
			err := a.post(ctx)
			if err == nil {
				failures = 0
				break
			}
			pause(ctx, max(backoff(rand.Float64, failures), askedFor(err)))
			failures++
		}
	}
}

// wait returns how long a due acknowledgement waits for others, or for a poll to carry it.
func (a *acker) wait() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.owed {
		return 0
	}
	if a.polls.Load() {
		return time.Until(a.since.Add(carryPause))
	}
	return time.Until(a.since.Add(ackPause))
}

// flush acknowledges what is left when Listen ends.
func (a *acker) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushAtClose)
	defer cancel()
	for failures := 0; ctx.Err() == nil; failures++ {
		err := a.post(ctx)
		if err == nil {
			return
		}
		pause(ctx, max(backoff(rand.Float64, failures), askedFor(err)))
	}
}

// post acknowledges once. It returns only temporary errors; a refusal is passed to OnError
// and forgotten.
func (a *acker) post(ctx context.Context) error {
	a.mu.Lock()
	cursor, due := a.pending, a.owed
	a.mu.Unlock()
	if !due {
		return nil
	}
	err := a.requests.postJSON(ctx, "/ack", map[string]string{"cursor": cursor})
	if err != nil && !a.requests.final(err) {
		return err
	}
	a.confirm(cursor)
	if err != nil {
		a.refused(cursor, err)
	}
	return nil
}

func (a *acker) refused(cursor string, err error) {
	a.o.OnError(fmt.Errorf("acknowledge %s: %w", cursor, err))
}

// conflict reports whether an acknowledgement came too late: the log was replaced
// since the event, so there is no cursor to move.
func conflict(err error) bool {
	var p *Problem
	return errors.As(err, &p) && p.Status == http.StatusConflict
}
