package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/culvertmq/culvert/api/stream"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/trusted"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/registry"
	"github.com/culvertmq/culvert/queue/tail"
)

// memory is a queue and a registry without Postgres, for errors and timing that a real one does not give on demand. Other
// tests use a real queue.
type memory struct {
	store     // nil: methods that these tests do not use panic
	registrar // nil, too

	mu     sync.Mutex
	events []*event.Event
	subs   map[*memorySub]bool

	// Errors to return, and a function to call meanwhile.
	appendErr, pollErr, subscribeErr, ackErr, stateErr, historyErr, pingErr, awaitErr error

	onAppend func(ctx context.Context)
	gap      *event.Gap // returned by the next Poll
	state    queue.ClientState
	acked    []event.Cursor
	polls    int
	panics   int // how many of the next polls panic
}

const memoryLog = "m3m0"

// inMemory makes one memory the owner of everything.
func inMemory(m interface {
	store
	subscriptionSource
	registrar
},
) owners {
	return owners{queue: m, subscriptions: m, registry: m}
}

func (m *memory) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
	for s := range m.subs {
		s.Rouse()
	}
}

func (m *memory) Append(ctx context.Context, emits []event.Emit) ([]event.Result, error) {
	if m.onAppend != nil {
		m.onAppend(ctx)
	}
	var results []event.Result
	var err error
	m.set(func() {
		if err = m.appendErr; err != nil {
			return
		}
		for _, e := range emits {
			room := event.Everyone()
			if len(e.Rooms) > 0 {
				room = e.Rooms[0]
			}
			m.events = append(m.events, &event.Event{
				Log: memoryLog, Offset: event.Offset(len(m.events) + 1), Namespace: e.Namespace.String(),
				Room: room, Name: e.Event.String(), Data: e.Data.JSON(), Binary: e.Data.Binary(),
				From: e.From, At: time.Now(), Except: e.Except,
			})
			results = append(results, event.Result{Cursor: m.events[len(m.events)-1].Cursor()})
		}
	})
	return results, err
}

func (m *memory) AppendEach(ctx context.Context, emits []event.Emit) []event.Result {
	results := make([]event.Result, len(emits))
	for i := range emits {
		if r, err := m.Append(ctx, emits[i:i+1]); err != nil {
			results[i].Err = err
		} else {
			results[i] = r[0]
		}
	}
	return results
}

func (m *memory) Head() event.Cursor {
	m.mu.Lock()
	defer m.mu.Unlock()
	return event.Cursor{Log: memoryLog, Offset: event.Offset(len(m.events))}
}

func (m *memory) Delivered() event.Cursor { return m.Head() }

func (m *memory) Ack(_ context.Context, _ event.Namespace, _ event.Client, c event.Cursor) (event.Cursor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ackErr == nil {
		m.acked = append(m.acked, c)
	}
	return c, m.ackErr
}

func (m *memory) ClientState(context.Context, event.Namespace, event.Client, func(event.Room) bool) (queue.ClientState, error) {
	return m.state, m.stateErr
}

func (m *memory) HistoryOf(_ context.Context, in queue.Interest, limit int) (event.Batch, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.after(in.After.Offset, limit), m.historyErr
}

func (m *memory) Settings(event.Namespace) registry.NamespaceSettings {
	return registry.NamespaceSettings{}
}

func (m *memory) Grant(string) (registry.Grant, bool) { return registry.Grant{}, false }

func (m *memory) Holds(registry.Grant) bool { return false }

func (m *memory) HasKeys() bool { return false }

func (m *memory) Changed() <-chan struct{} { return nil } // it never changes

func (m *memory) RevokedAt(event.Namespace, event.Client) time.Time { return time.Time{} }

func (m *memory) Revocations() int { return 0 }

func (m *memory) Reply(context.Context, queue.Reply) (bool, error) { return false, event.ErrNoAsk }

// Await waits like the real one. No reply ever arrives.
func (m *memory) Await(ctx context.Context, _ event.Namespace, _ event.Offset) (queue.Replies, error) {
	<-ctx.Done()
	return queue.Replies{}, m.awaitErr
}

func (m *memory) Ping(context.Context) error { return m.pingErr }

func (m *memory) after(offset event.Offset, limit int) event.Batch {
	all := m.events[min(int(offset), len(m.events)):]
	n := min(limit, len(all))
	return event.Batch{
		Events: slices.Clone(all[:n]), More: n < len(all),
		Cursor: event.Cursor{Log: memoryLog, Offset: offset + event.Offset(n)},
	}
}

func (m *memory) Subscribe(_ context.Context, in queue.Interest) (stream.Subscription, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.subscribeErr != nil {
		return nil, m.subscribeErr
	}
	s := &memorySub{m: m, wake: make(chan struct{}, 1), waker: in.Waker, at: event.Cursor{Log: memoryLog, Offset: event.Offset(len(m.events))}}
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
	m     *memory
	at    event.Cursor
	wake  chan struct{}
	waker tail.Waker
}

// PollRecent is like the real one: it never fails.
func (s *memorySub) PollRecent(limit int, unchanged trusted.Shared) (event.Batch, bool) {
	s.m.mu.Lock()
	broken := s.m.pollErr != nil
	s.m.mu.Unlock()
	if broken {
		return event.Batch{Cursor: s.at}, false
	}
	b, err := s.PollShared(context.Background(), limit, unchanged)
	return b, err == nil
}

func (s *memorySub) PollShared(_ context.Context, limit int, _ trusted.Shared) (event.Batch, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.polls++
	if s.m.panics > 0 {
		s.m.panics--
		panic("a poll that fails")
	}
	if s.m.pollErr != nil {
		return event.Batch{Cursor: s.at}, s.m.pollErr
	}
	b := s.m.after(s.at.Offset, limit)
	b.Gap, s.m.gap = s.m.gap, nil
	s.at = b.Cursor
	return b, nil
}

// tries returns the number of Polls so far.
func (m *memory) tries() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.polls
}

func (s *memorySub) Wake() <-chan struct{} { return s.wake }

func (s *memorySub) Allow(func(event.Room) bool) {}

func (s *memorySub) Rouse() {
	if s.waker != nil {
		s.waker.Wake(0)
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *memorySub) Cursor() event.Cursor { return s.at }

func (s *memorySub) Close() {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	delete(s.m.subs, s)
}
