package stream

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/api/limits"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/trusted"
)

// fake is everything that a stream uses.
type fake struct {
	context.Context
	reason string

	recent, stored []event.Batch // what polls return
	err            error
	polls          int

	free    int // how many frames may be added until the client reads
	frames  []string
	flushed int
	broken  bool
	ended   bool
}

func (f *fake) Reason() string { return f.reason }

func (f *fake) PollRecent(int, trusted.Shared) (b event.Batch, ok bool) {
	f.polls++
	if len(f.recent) == 0 {
		return b, len(f.stored) == 0 && f.err == nil
	}
	b, f.recent = f.recent[0], f.recent[1:]
	return b, true
}

func (f *fake) PollShared(context.Context, int, trusted.Shared) (b event.Batch, err error) {
	if f.err != nil {
		return b, f.err
	}
	if len(f.stored) > 0 {
		b, f.stored = f.stored[0], f.stored[1:]
	}
	return b, nil
}

func (f *fake) Wake() <-chan struct{}       { return nil }
func (f *fake) Rouse()                      {}
func (f *fake) Allow(func(event.Room) bool) {}
func (f *fake) Cursor() event.Cursor        { return event.Cursor{Log: "l", Offset: 1} }
func (f *fake) Close()                      {}
func (f *fake) End()                        { f.ended = true }
func (f *fake) Add(b []byte) (bool, error) {
	if len(f.frames)-f.flushed >= f.free {
		return false, nil
	}
	f.frames = append(f.frames, string(b))
	return true, nil
}

func (f *fake) Flush() (bool, error) {
	if f.broken {
		return false, os.ErrDeadlineExceeded
	}
	if len(f.frames)-f.flushed >= f.free {
		return false, nil
	}
	return true, nil
}

// reads makes the client read all, and lets n more frames be sent.
func (f *fake) reads(n int) { f.flushed, f.free = len(f.frames), n }

// saw checks the frames by a part of each.
func (f *fake) saw(t *testing.T, want ...string) {
	t.Helper()
	if len(f.frames) != len(want) {
		t.Fatalf("%d frames, want %d: %q", len(f.frames), len(want), f.frames)
	}
	for i := range want {
		if !strings.Contains(f.frames[i], want[i]) {
			t.Errorf("frame %q, want %s", f.frames[i], want[i])
		}
	}
}

func batch(more bool, taken int, names ...string) event.Batch {
	b := event.Batch{More: more, Taken: taken}
	for i, n := range names {
		b.Events = append(b.Events, &event.Event{Log: "l", Offset: event.Offset(i + 1), Room: event.Everyone(), Name: n, Data: "1"})
	}
	return b
}

func newStream(t *testing.T, f *fake, account *limits.Account) *Stream {
	t.Helper()
	if f.Context == nil {
		f.Context = t.Context()
	}
	f.free = 1000
	s := New(Options{
		Shared: &Shared{
			Streamed: prometheus.NewCounter(prometheus.CounterOpts{Name: "x"}), Log: slog.New(slog.DiscardHandler), Heartbeat: time.Hour,
			Jitter: func(least, _ time.Duration) time.Duration { return least },
		},
		Session: f, Sub: f, Out: f, Memory: account, Age: time.Hour,
	})
	return &s
}

func steps(t *testing.T, s *Stream, block bool, want Outcome) {
	t.Helper()
	if got := s.Step(block); got != want {
		t.Fatalf("outcome %d, want %d", got, want)
	}
}

// While the client does not read, the stream polls nothing, and keeps what the batch has charged.
func TestAFullStreamKeepsItsBatch(t *testing.T) {
	var account limits.Account
	l := limits.New(limits.Limits{}, nil)

	if err := l.Enter(&account, event.Namespace{}, &auth.Identity{Backend: true, Key: auth.KeyOf("k")}); err != nil {
		t.Fatal(err)
	}
	defer account.Close()
	charged := func() int { return l.Counts(event.Namespace{}, event.Client{}).Bytes }

	if !account.Take(700) {
		t.Fatal("no memory")
	}
	f := &fake{recent: []event.Batch{batch(false, 700, "a", "b", "c"), batch(false, 0, "d")}}
	s := newStream(t, f, &account)
	f.free = 2
	steps(t, s, false, Full)
	f.saw(t, "event: a", "event: b")
	steps(t, s, false, Full)
	if f.polls != 1 || charged() != 700 {
		t.Errorf("%d polls, %d bytes", f.polls, charged())
	}
	f.reads(10)
	steps(t, s, false, Waits)
	steps(t, s, false, Waits)
	f.saw(t, "event: a", "event: b", "event: c", "event: d")
	if charged() != 0 {
		t.Errorf("%d bytes are still charged", charged())
	}
}

// A worker never asks Postgres.
func TestOnlyABlockingStepAsksPostgres(t *testing.T) {
	f := &fake{stored: []event.Batch{batch(true, 0, "a"), batch(false, 0, "b")}}
	s := newStream(t, f, nil)
	steps(t, s, false, Asks)
	steps(t, s, false, Asks)
	f.saw(t)
	steps(t, s, true, Waits)
	f.saw(t, "event: a", "event: b")
}

// After each batch it is the turn of others.
func TestAStreamWithMoreLetsOthersTakeTurns(t *testing.T) {
	f := &fake{recent: []event.Batch{batch(true, 0, "a"), batch(true, 0, "b"), batch(false, 0, "c")}}
	s := newStream(t, f, nil)
	steps(t, s, false, More)
	f.saw(t, "event: a")
	steps(t, s, false, More)
	steps(t, s, false, Waits)
	f.saw(t, "event: a", "event: b", "event: c")
}

// A stream that is ended finishes its batch first, then gives the reason, and ends.
func TestTheEndComesAfterTheBatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fake{Context: ctx, recent: []event.Batch{batch(false, 0, "a", "b")}}
	s := newStream(t, f, nil)
	f.free = 1
	steps(t, s, false, Full)
	f.reason = Drain
	cancel()
	steps(t, s, false, Full)
	f.reads(10)
	steps(t, s, false, Over)
	f.saw(t, "event: a", "event: b", `"drain"`)
	if !f.ended {
		t.Error("the answer has no end")
	}
}

// A client that has left, or does not read until its deadline, ends the stream without more frames.
func TestAClientThatIsGoneEndsTheStream(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fake{Context: ctx, recent: []event.Batch{batch(false, 0, "a", "b")}}
	s := newStream(t, f, nil)
	f.free = 1
	steps(t, s, false, Full)
	cancel()
	steps(t, s, false, Over)
	f.saw(t, "event: a")

	f = &fake{recent: []event.Batch{batch(false, 0, "a")}, broken: true}
	s = newStream(t, f, nil)
	f.broken = true
	steps(t, s, false, Over)
}

// An error of Postgres pauses polling: wakes do not shorten the pause, and the stream says when it is over.
func TestAnErrorPausesPolling(t *testing.T) {
	f := &fake{err: errors.New("away")}
	s := newStream(t, f, nil)
	steps(t, s, true, Waits)
	if wait := time.Until(s.Next()); wait <= 0 || wait > retryLeast {
		t.Errorf("the pause is %v", wait)
	}
	f.err, f.recent = nil, []event.Batch{batch(false, 0, "a")}
	steps(t, s, false, Waits)
	f.saw(t)
	time.Sleep(time.Until(s.Next()))
	steps(t, s, false, Waits)
	f.saw(t, "event: a")
}
