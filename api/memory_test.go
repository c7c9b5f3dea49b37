package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/culvertmq/culvert/queue"
)

// memory is a store without Postgres, for the faults and the timing that a real
// one does not give on demand. Tests of meaning use a real queue.
type memory struct {
	store // what no test of this kind asks for panics

	mu     sync.Mutex
	events []*queue.Event
	subs   map[*memorySub]bool

	// Errors to answer with, and what to do meanwhile.
	appendErr, pollErr, subscribeErr, ackErr, stateErr, historyErr, pingErr, awaitErr error

	onAppend func(ctx context.Context)
	gap      *queue.Gap // for the next Poll
	state    queue.ClientState
	acked    []queue.Cursor
	polls    int
}

const memoryLog = "m3m0"

func (m *memory) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
	for s := range m.subs {
		signal(s.wake)
	}
}

func (m *memory) Append(ctx context.Context, emits []queue.Emit) ([]queue.Result, error) {
	if m.onAppend != nil {
		m.onAppend(ctx)
	}
	var results []queue.Result
	var err error
	m.set(func() {
		if err = m.appendErr; err != nil {
			return
		}
		for _, e := range emits {
			room := queue.Everyone
			if len(e.Rooms) > 0 {
				room = e.Rooms[0]
			}
			m.events = append(m.events, &queue.Event{
				Log: memoryLog, Offset: queue.Offset(len(m.events) + 1), Namespace: e.Namespace.String(),
				Room: room, Name: e.Event.String(), Data: e.Data.JSON(), Binary: e.Data.Binary(),
				From: e.From, At: time.Now(), Except: e.Except,
			})
			results = append(results, queue.Result{Cursor: m.events[len(m.events)-1].Cursor()})
		}
	})
	return results, err
}

func (m *memory) AppendEach(ctx context.Context, emits []queue.Emit) []queue.Result {
	results := make([]queue.Result, len(emits))
	for i := range emits {
		if r, err := m.Append(ctx, emits[i:i+1]); err != nil {
			results[i].Err = err
		} else {
			results[i] = r[0]
		}
	}
	return results
}

func (m *memory) Head() queue.Cursor {
	m.mu.Lock()
	defer m.mu.Unlock()
	return queue.Cursor{Log: memoryLog, Offset: queue.Offset(len(m.events))}
}

func (m *memory) Delivered() queue.Cursor { return m.Head() }

func (m *memory) Ack(_ context.Context, _ queue.Namespace, _ queue.Client, c queue.Cursor) (queue.Cursor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ackErr == nil {
		m.acked = append(m.acked, c)
	}
	return c, m.ackErr
}

func (m *memory) ClientState(context.Context, queue.Namespace, queue.Client, func(queue.Room) bool) (queue.ClientState, error) {
	return m.state, m.stateErr
}

func (m *memory) HistoryOf(_ context.Context, in queue.Interest, limit int) (queue.Batch, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.after(in.After.Offset, limit), m.historyErr
}

func (m *memory) Settings(queue.Namespace) queue.NamespaceSettings { return queue.NamespaceSettings{} }

func (m *memory) Grant(string) (queue.Grant, bool) { return queue.Grant{}, false }

func (m *memory) Holds(queue.Grant) bool { return false }

func (m *memory) HasKeys() bool { return false }

func (m *memory) Watch(func()) {}

func (m *memory) RevokedAt(queue.Namespace, queue.Client) time.Time { return time.Time{} }

func (m *memory) Revocations() int { return 0 }

func (m *memory) Reply(context.Context, queue.Reply) (bool, error) { return false, queue.ErrNoAsk }

// Await waits like the real one, and nobody ever replies.
func (m *memory) Await(ctx context.Context, _ queue.Namespace, _ queue.Offset) (queue.Replies, error) {
	<-ctx.Done()
	return queue.Replies{}, m.awaitErr
}

func (m *memory) Ping(context.Context) error { return m.pingErr }

func (m *memory) after(offset queue.Offset, limit int) queue.Batch {
	all := m.events[min(int(offset), len(m.events)):]
	n := min(limit, len(all))
	return queue.Batch{
		Events: slices.Clone(all[:n]), More: n < len(all),
		Cursor: queue.Cursor{Log: memoryLog, Offset: offset + queue.Offset(n)},
	}
}

func (m *memory) Subscribe(_ context.Context, in queue.Interest) (subscription, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.subscribeErr != nil {
		return nil, m.subscribeErr
	}
	s := &memorySub{m: m, wake: make(chan struct{}, 1), at: queue.Cursor{Log: memoryLog, Offset: queue.Offset(len(m.events))}}
	if !in.After.IsZero() {
		s.at = in.After
	} else if in.Earliest {
		s.at.Offset = 0
	}
	if m.subs == nil {
		m.subs = map[*memorySub]bool{}
	}
	m.subs[s] = true
	return s, nil
}

type memorySub struct {
	m    *memory
	at   queue.Cursor
	wake chan struct{}
}

func (s *memorySub) Poll(_ context.Context, limit int) (queue.Batch, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.polls++
	if s.m.pollErr != nil {
		return queue.Batch{Cursor: s.at}, s.m.pollErr
	}
	b := s.m.after(s.at.Offset, limit)
	b.Gap, s.m.gap = s.m.gap, nil
	s.at = b.Cursor
	return b, nil
}

// tries counts the Polls so far.
func (m *memory) tries() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.polls
}

func (s *memorySub) Wake() <-chan struct{} { return s.wake }

func (s *memorySub) Allow(func(queue.Room) bool) {}

func (s *memorySub) Rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *memorySub) Cursor() queue.Cursor { return s.at }

func (s *memorySub) Close() {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	delete(s.m.subs, s)
}
