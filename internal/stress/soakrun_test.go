package stress

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// soak is one seeded run: two instances and an application with a handler on a
// Postgres that can fail over, with all load and all faults of the schedule.
type soak struct {
	t        *testing.T
	schedule schedule
	verdict  *verdict
	facts    *facts
	losses   *losses
	acks     ackBook
	ending   atomic.Bool // from now on an end mark counts

	dir       string
	primary   *cluster
	front     *forwarder // leads to the present primary
	feed      *forwarder // leads a standby to its primary
	pooler    *pooler    // nil without PgBouncer
	instances []*program
	handler   *program
	handled   string // the file that the handler writes to
}

func newSoak(t *testing.T, s schedule) *soak {
	v := newVerdict()
	return &soak{t: t, schedule: s, verdict: v, facts: newFacts(), losses: &losses{}}
}

// rand gives each worker its own random numbers, which are the same for the same seed.
func (s *soak) rand(worker int) *rand.Rand {
	return rand.New(rand.NewPCG(s.schedule.seed, uint64(worker))) //nolint:gosec // a small number
}

// run runs everything; what it found is in the verdict.
func (s *soak) run(ctx context.Context) error {
	defer s.tearDown()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.setUp(ctx); err != nil {
		return err
	}
	var keeping sync.WaitGroup
	keepCtx, stopKeeping := context.WithCancel(ctx)
	for _, p := range append(s.instances, s.handler) {
		keeping.Go(func() { p.keep(keepCtx) })
	}
	defer keeping.Wait()
	defer stopKeeping()

	followers, err := s.warmUp(ctx)
	if err != nil {
		return err
	}
	reading := s.follow(ctx, followers)
	loadCtx, stopLoad := context.WithTimeout(ctx, s.schedule.length)
	defer stopLoad()
	s.verdict.began = time.Now()
	load := s.startLoad(loadCtx)
	err = s.happen(loadCtx)
	<-loadCtx.Done()
	load.wait()
	if err != nil {
		return err
	}
	if err := s.settleDown(ctx, followers); err != nil {
		return err
	}
	reading()
	s.verdict.closeBooks()
	return s.check(ctx, followers, load)
}

func (s *soak) setUp(ctx context.Context) (err error) {
	if s.dir, err = makeClusterDir(); err != nil {
		return err
	}
	dir, err := makeClusterDir()
	if err != nil {
		return err
	}
	if s.primary, err = startCluster(ctx, dir); err != nil {
		return err
	}
	if s.front, err = newForwarder(); err != nil {
		return err
	}
	if s.feed, err = newForwarder(); err != nil {
		return err
	}
	s.front.to("unix", s.primary.socket())
	s.feed.to("unix", s.primary.socket())
	if err := s.setUpPooler(ctx); err != nil {
		return err
	}
	for n := range 2 {
		if err := s.addInstance(n); err != nil {
			return err
		}
	}
	s.handled = filepath.Join(s.dir, "handled")
	s.handler = &program{name: "the handler", verdict: s.verdict, env: []string{beWorker + "=" + s.front.dsn(), workerFile + "=" + s.handled}}
	for _, p := range append(s.instances, s.handler) {
		p.start(ctx)
	}
	if s.verdict.failed() {
		return errors.New("the programs did not start:\n" + s.verdict.report())
	}
	return nil
}

func (s *soak) setUpPooler(ctx context.Context) (err error) {
	if !s.schedule.pooled[0] {
		return nil
	}
	if findPgBouncer() == "" {
		if os.Getenv("CI") == "true" {
			return errors.New("PgBouncer is not installed; install pgbouncer: CI leaves nothing out")
		}
		s.t.Log("NOT TESTED: PgBouncer is not installed (Debian, Alpine, Homebrew: pgbouncer); this seed runs without it")
		s.schedule.pooled = [2]bool{}
		return nil
	}
	s.pooler, err = newPooler(ctx, s.dir, s.front.port())
	return err
}

func (s *soak) addInstance(n int) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	p := &program{name: fmt.Sprintf("instance %d", n), verdict: s.verdict, url: "http://" + address + "/v1/", env: []string{beCulvert + "=1"}}
	data := filepath.Join(s.dir, p.name)
	p.args = []string{"serve", "--listen", address, "--admin-listen=", "--api-keys", apiKey, "--data", data, "--heartbeat=1", "--log-level=warn"}
	if s.schedule.pooled[n] {
		p.args = append(p.args, "--database-url", s.pooler.dsn(), "--listen-database-url", s.front.dsn())
	} else {
		p.args = append(p.args, "--database-url", s.front.dsn())
	}
	s.instances = append(s.instances, p)
	return nil
}

// settleDown repairs what is still broken, and waits until everything has arrived.
func (s *soak) settleDown(ctx context.Context, followers []*follower) error {
	for _, p := range append(s.instances, s.handler) {
		p.use.Lock()
		if p.ended() {
			p.start(ctx)
		}
		p.use.Unlock()
	}
	if err := s.awaitMoved(ctx); err != nil {
		return err
	}
	s.ending.Store(true)
	c := s.caller(9000)
	defer c.close()
	for deadline := time.Now().Add(45 * time.Second); ; rest(ctx, 500*time.Millisecond) {
		s.mark(ctx, c)
		left := 0
		for _, f := range followers {
			if !f.ended.Load() {
				left++
			}
		}
		if left == 0 || ctx.Err() != nil {
			return nil
		}
		if time.Now().After(deadline) {
			for _, f := range followers {
				if !f.ended.Load() {
					s.verdict.breaks("every reader reaches the head", "%s did not see the end mark within 45 s", f.id)
					f.stop()
				}
			}
			return nil
		}
	}
}

// mark emits the end mark, at which readers stop.
func (s *soak) mark(ctx context.Context, c *caller) {
	for _, ns := range []string{"default", "game"} {
		f := &fact{name: fmt.Sprintf("%s %s %d", endMark, ns, time.Now().UnixNano()), namespace: ns, rooms: []string{"stress", "*"}}
		s.facts.plan(f)
		c.insist(ctx, "POST", ns+"/emit", fmt.Sprintf(`{"rooms":["stress","*"],"event":"e","data":{"name":%q}}`, f.name))
	}
}

// awaitMoved waits until no events from SQL are staged any more.
func (s *soak) awaitMoved(ctx context.Context) error {
	for deadline := time.Now().Add(20 * time.Second); ; rest(ctx, 50*time.Millisecond) {
		left, err := query[int](ctx, s.primary, `SELECT count(*) FROM culvert.staged`)
		if err != nil || left == 0 {
			return err
		}
		if time.Now().After(deadline) {
			s.verdict.breaks("what SQL emitted is delivered", "%d staged events were not moved within 20 s", left)
			return nil
		}
	}
}

func (s *soak) tearDown() {
	var errs []error
	for _, p := range s.instances {
		p.kill()
	}
	if s.handler != nil {
		s.handler.kill()
	}
	if s.pooler != nil {
		s.pooler.kill()
	}
	for _, f := range []*forwarder{s.front, s.feed} {
		if f != nil {
			f.close()
		}
	}
	if s.primary != nil {
		errs = append(errs, s.primary.remove())
	}
	if err := errors.Join(append(errs, os.RemoveAll(s.dir))...); err != nil {
		s.t.Error(err)
	}
}
