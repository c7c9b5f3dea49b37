package stress

import (
	"context"
	"sync"
)

// How much load there is: together some hundred events a second, so that
// two runs fit on two processors.
const (
	soakHTTP    = 5
	soakSQL     = 4
	soakBoth    = 1
	soakMembers = 4
	soakAckers  = 8
	soakAskers  = 2
)

// load is everything that runs while faults happen, with what it has recorded.
type load struct {
	wg      sync.WaitGroup
	members []*member
	asks    []*asker
	hints   *hints
}

func (l *load) wait() { l.wg.Wait() }

// startLoad starts the load; it ends with ctx, but finishes what it has begun.
func (s *soak) startLoad(ctx context.Context) *load {
	l := &load{hints: &hints{}}
	whole := context.WithoutCancel(ctx)
	id := 1 // of the next publisher; it also seeds the publisher's random numbers
	worker := func(work func(c *caller, id int)) {
		n := id
		id++
		l.wg.Go(func() {
			c := s.caller(n)
			defer c.close()
			work(c, n)
		})
	}
	goesOn := func() bool { return ctx.Err() == nil }
	for range soakHTTP {
		worker(func(c *caller, id int) { (&emitter{c: c, id: id, goesOn: goesOn}).run(whole) })
	}
	for range soakSQL {
		worker(func(c *caller, id int) { (&teller{c: c, id: id, goesOn: goesOn}).run(whole) })
	}
	for range soakBoth {
		worker(func(c *caller, id int) { (&teller{c: c, id: id, goesOn: goesOn}).runBoth(whole) })
	}
	for n := range soakMembers {
		m := &member{id: memberName(n)}
		l.members = append(l.members, m)
		worker(func(c *caller, _ int) { m.run(whole, c, goesOn) })
	}
	for n := range soakAckers {
		client := ackerName(n)
		for range 2 { // at once, on random instances
			worker(func(c *caller, _ int) { s.ack(whole, c, client, goesOn) })
		}
	}
	for n := range soakAskers {
		a := &asker{n: n}
		l.asks = append(l.asks, a)
		worker(func(c *caller, _ int) { a.run(whole, c, goesOn) })
	}
	worker(func(c *caller, _ int) { l.hints.run(whole, c, goesOn) })
	return l
}
