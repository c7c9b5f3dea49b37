package stress

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

const (
	publishers = 32 // half of them over HTTP, half from SQL
	readers    = 8  // half of them by SSE, half by long polling
)

// scene is one run with two instances on one Postgres.
type scene struct {
	t         *testing.T
	postgres  *localpg.Server
	instances []*instance
	duration  time.Duration
	lazy      bool
}

func newScene(t *testing.T, duration time.Duration, args ...string) *scene {
	if testing.Short() {
		duration /= 3
	}
	s := &scene{t: t, postgres: pgtest.NewServer(t, localpg.Options{}), duration: duration}
	for range 2 {
		s.instances = append(s.instances, newInstance(t, s.postgres.DSN(), args...))
	}
	return s
}

// atLeast returns how much must have happened for a test to show anything; with -short it is a
// third.
func atLeast(n int) int {
	if testing.Short() {
		return n / 3
	}
	return n
}

func TestCalm(t *testing.T) {
	newScene(t, 6*time.Second).run(nil)
}

func TestInstancesAreKilled(t *testing.T) {
	s := newScene(t, 9*time.Second)
	s.run(s.killEvery(700 * time.Millisecond))
}

func TestPostgresCrashes(t *testing.T) {
	s := newScene(t, 9*time.Second)
	s.run(func(after func(time.Duration) bool) {
		for after(1500 * time.Millisecond) {
			if err := s.postgres.StopImmediate(context.Background()); err != nil {
				t.Error(err)
			}
			after(500 * time.Millisecond)
			if err := s.postgres.StartAgain(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestSlicesRollAndArePruned(t *testing.T) {
	s := newScene(t, 9*time.Second, "--slice=1s", "--retention=1s")
	s.lazy = true
	s.run(s.killEvery(1500 * time.Millisecond)) // a new instance has nothing old in memory
}

// killEvery kills one instance after the other and starts it again.
func (s *scene) killEvery(pause time.Duration) func(after func(time.Duration) bool) {
	return func(after func(time.Duration) bool) {
		for i := 0; after(pause); i++ {
			in := s.instances[i%2]
			in.kill()
			after(300 * time.Millisecond)
			in.start()
		}
	}
}

// run publishes for the scene's duration while accidents happen, waits until
// everything has arrived, and compares. accidents gets a function that waits and
// reports whether the time for accidents continues; it must repair what it broke.
func (s *scene) run(accidents func(after func(time.Duration) bool)) {
	s.t.Helper()
	all := newLedger()
	reading := s.read()
	ctx, stop := context.WithTimeout(s.t.Context(), s.duration)
	defer stop()
	moving := s.move(ctx)
	var publishing sync.WaitGroup
	for p := range publishers {
		if p%2 == 0 {
			publishing.Go(func() { publishHTTP(ctx, all, p, s.instances) })
		} else {
			publishing.Go(func() { publishSQL(ctx, all, p, s.postgres.DSN()) })
		}
	}
	if accidents != nil {
		accidents(func(d time.Duration) bool {
			select {
			case <-time.After(d):
			case <-ctx.Done():
			}
			return ctx.Err() == nil
		})
	}
	publishing.Wait()
	intervals := moving()
	s.end()
	rs := s.repeatEnd(reading)
	s.compare(all, rs)
	s.compareMembers(rs, intervals)
}

// read starts the readers and returns a function that waits for them.
func (s *scene) read() func() []*reader {
	ctx, stop := context.WithTimeout(s.t.Context(), s.duration+time.Minute)
	var rs []*reader
	var wg sync.WaitGroup
	for n := range readers + members {
		r := newReader(n, s.instances)
		if n >= readers {
			r.rooms = "" // a member gets what its rooms get
		}
		r.lazy = s.lazy && n < 2
		rs = append(rs, r)
		wg.Go(func() {
			if err := r.run(ctx); err != nil {
				s.t.Error(err)
			}
		})
	}
	return func() []*reader {
		wg.Wait()
		stop()
		return rs
	}
}

// end emits the end mark once all staged events have been moved.
func (s *scene) end() {
	s.t.Helper()
	s.awaitMoved()
	s.mark()
}

// repeatEnd emits the end mark again while readers wait for it, because retention may remove
// it before slow readers get it.
func (s *scene) repeatEnd(reading func() []*reader) []*reader {
	done := make(chan []*reader, 1)
	go func() { done <- reading() }()
	for {
		select {
		case rs := <-done:
			return rs
		case <-time.After(time.Second):
			s.mark()
		}
	}
}

func (s *scene) mark() {
	s.t.Helper()
	client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	if _, err := confirm(client, `{"rooms":["stress","*"],"event":"e","data":{"name":"`+endMark+`"}}`, s.instances, "/emit"); err != nil {
		s.t.Fatal(err)
	}
}

// awaitMoved waits until nothing is staged any more.
func (s *scene) awaitMoved() {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.postgres.DSN())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var left int
		if err := conn.QueryRow(s.t.Context(), `SELECT count(*) FROM culvert.staged`).Scan(&left); err != nil {
			s.t.Fatal(err)
		}
		if left == 0 {
			break
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d staged events were not moved", left)
		}
	}
}

// compare compares what the readers saw with what the publishers know.
func (s *scene) compare(all *ledger, rs []*reader) {
	t := s.t
	for _, err := range all.errs {
		t.Error(err)
	}
	// The events that readers saw, by offset: all readers must agree.
	log := map[int64]string{}
	repeats, cuts, gaps := 0, 0, 0
	for _, r := range rs {
		for _, e := range r.events {
			if other, ok := log[e.Offset]; ok && other != e.Data.Name {
				t.Errorf("offset %d is %q to %s and %q to another", e.Offset, e.Data.Name, r.id, other)
			}
			log[e.Offset] = e.Data.Name
		}
		repeats, cuts, gaps = repeats+r.repeats, cuts+r.cuts, gaps+len(r.gaps)
	}
	offsetOf := map[string]int64{}
	for offset, name := range log {
		if name == endMark {
			continue
		}
		if other, twice := offsetOf[name]; twice {
			t.Errorf("event %s is at %d and %d", name, other, offset)
		}
		offsetOf[name] = offset
		if f, known := all.fates[name]; !known || f == unstored {
			t.Errorf("event %s at %d was never committed", name, offset)
		}
	}
	confirmed := 0
	for publisher, names := range all.order {
		last := int64(0)
		for _, name := range names {
			confirmed++
			offset, ok := offsetOf[name]
			if !ok {
				t.Errorf("event %s was committed and nobody saw it", name)
			} else if offset < last {
				t.Errorf("publisher %d: event %s at %d overtook an earlier one at %d", publisher, name, offset, last)
			}
			last = max(last, offset)
		}
	}
	for _, r := range rs[:readers] {
		missing := 0
		for offset, name := range log {
			if _, ok := r.byOffset[offset]; !ok && name != endMark && !r.explained(offset) {
				if missing++; missing < 4 {
					t.Errorf("%s missed %s at %d without a gap", r.id, name, offset)
				}
			}
		}
		if len(r.gaps) > 0 && !s.lazy {
			t.Errorf("%s was told of gaps, but nothing was pruned: %v", r.id, r.gaps)
		}
	}
	if s.lazy && gaps == 0 && !testing.Short() {
		t.Error("nobody fell behind retention: the test shows less than it should")
	}
	t.Logf("%d events confirmed, %d seen; readers broke off %d times, got %d repeats, %d gaps; %d emits repeated",
		confirmed, len(log), cuts, repeats, gaps, all.again)
	if confirmed < atLeast(500) || repeats == 0 || cuts < readers || all.again == 0 {
		t.Error("too little happened for this to show anything")
	}
}

// explained reports whether a gap covers the offset.
func (r *reader) explained(offset int64) bool {
	for _, g := range r.gaps {
		if offset > offsetIn(g.From) && offset <= offsetIn(g.To) {
			return true
		}
	}
	return false
}

func offsetIn(cursor string) int64 {
	_, digits, _ := strings.Cut(cursor, ":")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return -1
	}
	return n
}
