package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/api/stream"
	"github.com/culvertmq/culvert/queue"
)

// Close ends the parked streams that are left, without a reason.
func TestCloseEndsParkedStreams(t *testing.T) {
	m := &memory{}
	s := siteOf(t, inMemory(m))
	st := s.stream("/v1/default/events?client=c")
	st.expect("culvert:hello")
	if s.h.parking.Len() == 0 {
		t.Skip("streams are not parked on this system")
	}
	s.h.Close()
	if f, err := st.parser.Next(); err == nil {
		t.Errorf("frame %+v", f)
	}
	s.counts(0)
	s.stream("/v1/default/events?client=c").expect("culvert:hello") // has a goroutine
}

// A client that does not read does not hold up Close, whatever reason its stream has to end.
func TestCloseDoesNotWaitForSlowReaders(t *testing.T) {
	for name, end := range map[string]func(*Handler){"close": func(*Handler) {}, "drain and close": (*Handler).Drain} {
		t.Run(name, func(t *testing.T) {
			s := siteOf(t, inMemory(&memory{}), func(o *Options) { o.WriteTimeout = 10 * time.Second })
			for range 100 {
				s.post("/v1/default/emit", `{"event":"e","data":"`+strings.Repeat("x", 200<<10)+`"}`).is(http.StatusCreated)
			}
			slow := s.rawStream("/v1/default/events?client=slow&from=earliest")
			defer slow.Close()
			s.counts(1)
			if s.h.parking.Len() == 0 {
				t.Skip("streams are not parked on this system")
			}
			time.Sleep(300 * time.Millisecond) // until its socket is full
			end(s.h)
			start := time.Now()
			s.h.Close()
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("Close took %v", took)
			}
			s.counts(0)
		})
	}
}

// hesitant subscribes when it is told to.
type hesitant struct {
	*memory
	subscribing, goOn chan struct{}
}

func (h hesitant) Subscribe(ctx context.Context, in queue.Interest) (stream.Subscription, error) {
	h.subscribing <- struct{}{}
	<-h.goOn
	return h.memory.Subscribe(ctx, in)
}

// Close does not wait for requests that are going to become streams, and they end.
func TestCloseDoesNotWaitForSubscribe(t *testing.T) {
	m := hesitant{&memory{}, make(chan struct{}), make(chan struct{})}
	of := inMemory(m.memory)
	of.subscriptions = m
	s := siteOf(t, of)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn := s.rawStream("/v1/default/events?client=c")
		defer conn.Close()
		_, _ = io.Copy(io.Discard, conn) // it may be cut off
	}()
	<-m.subscribing
	s.h.Close()
	close(m.goOn)
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("a stream that began while the Handler closed does not end")
	}
	s.counts(0)
}

// A panic in a step ends its stream, without an end of the answer, and no other one.
func TestAPanicEndsOneStream(t *testing.T) {
	onBothPaths(t, func(t *testing.T, site siteMaker) {
		m := &memory{}
		s := site(t, inMemory(m))
		for range 3 {
			st := s.stream("/v1/default/events?client=c")
			st.expect("culvert:hello")
			other := s.stream("/v1/default/events?client=d")
			other.expect("culvert:hello")
			m.set(func() { m.panics = 1 })
			first, second := make(chan error, 1), make(chan error, 1)
			go func() { first <- untilEnd(st) }()
			go func() { second <- untilEnd(other) }()
			select {
			case err := <-first:
				if errors.Is(err, io.EOF) {
					t.Error("the answer looks complete")
				}
				other.close()
			case err := <-second:
				if errors.Is(err, io.EOF) {
					t.Error("the answer looks complete")
				}
				st.close()
			case <-time.After(10 * time.Second):
				t.Fatal("no stream has ended")
			}
			s.counts(0)
			s.idle()
		}
	})
}

// clumsy makes subscriptions whose Close panics.
type clumsy struct{ *memory }

type clumsySub struct{ stream.Subscription }

func (c clumsy) Subscribe(ctx context.Context, in queue.Interest) (stream.Subscription, error) {
	sub, err := c.memory.Subscribe(ctx, in)
	return clumsySub{sub}, err
}

func (s clumsySub) Close() {
	s.Subscription.Close()
	panic("cannot close")
}

// A panic at the end of a parked stream gives everything back, once.
func TestAPanicAtTheEndOfAStream(t *testing.T) {
	m := clumsy{&memory{}}
	of := inMemory(m.memory)
	of.subscriptions = m
	s := siteOf(t, of)
	for range 3 {
		st := s.stream("/v1/default/events?client=c")
		st.expect("culvert:hello")
		if s.h.parking.Len() != 1 {
			t.Skip("streams are not parked on this system")
		}
		st.close()
		s.counts(0)
		apitest.Until(t, func() bool { return s.h.parking.Len() == 0 })
	}
}

// untilEnd reads a stream to its end.
func untilEnd(st *sseStream) error {
	for {
		if _, err := st.parser.Next(); err != nil {
			return err
		}
	}
}
