package abuse

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/api"
	"github.com/culvertmq/culvert/cmd"
	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

// full makes the attacks as large as those that were first found.
var full = flag.Bool("full", false, "run the attacks in their full size")

// beCulvert makes the test binary the program itself, so that its memory can be measured alone.
const beCulvert = "ABUSE_BE_CULVERT"

func TestMain(m *testing.M) {
	if os.Getenv(beCulvert) != "" {
		go endWithParent()
		ctx := cmd.UntilSignal(context.Background())
		os.Exit(cmd.Run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
	}
	pgtest.Main(m, nil)
}

// endWithParent ends a server whose test was killed: its standard input ends then.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(3)
}

const (
	apiKey    = "the-key-of-the-abuse-tests"
	jwtSecret = "the-secret-of-the-abuse-tests-which-is-long"
)

// patience bounds every wait for something that must happen.
const patience = time.Minute

// rig is a server process with a Postgres of its own.
type rig struct {
	t    *testing.T
	dsn  string // of Postgres, as its owner
	url  string // of the server, without a path
	pid  int    // of the server
	http *http.Client
}

// newRig starts the server and its Postgres, which end with the test. args are flags for `culvert serve`.
func newRig(t *testing.T, args ...string) *rig {
	t.Helper()
	if testing.Short() {
		t.Skip("attacks take a while")
	}
	if raced {
		t.Skip("attacks are timed: go test ./internal/abuse, alone and without the race detector, runs them")
	}
	server := pgtest.NewServer(t, localpg.Options{Settings: map[string]string{"shared_buffers": "64MB", "max_connections": "60"}})
	r := &rig{t: t, dsn: server.DSN()}
	r.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	t.Cleanup(r.http.CloseIdleConnections)
	r.serve(args...)
	return r
}

// serve starts the server process, and returns when it is ready.
func (r *rig) serve(args ...string) {
	r.t.Helper()
	said := &output{ready: make(chan string, 1)}
	c := exec.Command(os.Args[0], append([]string{
		"serve", "--listen=127.0.0.1:0", "--admin-listen=", "--drain=0s", "--api-keys", apiKey, "--jwt-secret", jwtSecret,
		"--database-url", r.dsn, "--data", r.t.TempDir(), "--log-level=warn",
	}, args...)...)
	c.Env = append(os.Environ(), beCulvert+"=1")
	c.Stderr = said
	lifeline, err := c.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = lifeline.Close()
		_ = c.Wait() // "signal: killed" is expected
		if r.t.Failed() {
			r.t.Logf("the server said:\n%s", said)
		}
	})
	r.pid = c.Process.Pid
	select {
	case r.url = <-said.ready:
	case <-time.After(patience):
		r.t.Fatalf("the server is not ready; it said:\n%s", said)
	}
}

// output keeps the output of a server, and finds its address in it.
type output struct {
	mu    sync.Mutex
	text  bytes.Buffer
	ready chan string
	found bool
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.text.Write(b)
	if _, rest, there := strings.Cut(o.text.String(), "ready http://"); !o.found && there {
		if address, _, whole := strings.Cut(rest, "\n"); whole {
			o.found = true
			o.ready <- "http://" + address
		}
	}
	return n, err
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// connect opens a session of Postgres as its owner.
func (r *rig) connect() *pgx.Conn {
	r.t.Helper()
	c, err := pgx.Connect(r.t.Context(), r.dsn)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// token is an ordinary client's: it may read and emit to every room of its namespace.
func (r *rig) token(namespace, client string) string {
	r.t.Helper()
	claims := api.Claims{
		RegisteredClaims: jwt.RegisteredClaims{Subject: client, ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour))},
		Namespaces:       []string{namespace}, Rooms: []string{"*"}, Emit: []string{"*"},
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(jwtSecret))
	if err != nil {
		r.t.Fatal(err)
	}
	return signed
}

// namespace makes a namespace with settings in JSON.
func (r *rig) namespace(name, settings string) {
	r.t.Helper()
	status, text, err := r.do(r.t.Context(), http.MethodPut, apiKey, "/v1/"+name, "application/json", []byte(settings))
	if err != nil || status >= 300 {
		r.t.Fatalf("make the namespace %s: %d %s %v", name, status, text, err)
	}
}

// post sends JSON with a token or key, and returns the status and text of the answer.
func (r *rig) post(ctx context.Context, token, path string, body []byte) (int, string, error) {
	return r.do(ctx, http.MethodPost, token, path, "application/json", body)
}

func (r *rig) do(ctx context.Context, method, token, path, media string, body []byte) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if len(body) > 0 {
		req.Header.Set("Content-Type", media)
	}
	res, err := r.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// crowd sends the same request n times at once and returns how often each status came.
func (r *rig) crowd(n int, token, path string, body []byte) map[int]int {
	var mu sync.Mutex
	statuses := map[int]int{}
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
			defer cancel()
			status, _, err := r.post(ctx, token, path, body)
			if err != nil {
				status = 0
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	all.Wait()
	return statuses
}

// victim is a client of another namespace than the attacker's that repeats one kind of call.
type victim struct {
	name string
	do   func(ctx context.Context) error
}

// emitter is a victim that emits small events to one room.
func (r *rig) emitter(namespace string) *victim {
	token := r.token(namespace, "victim")
	return &victim{name: "emit", do: func(ctx context.Context) error {
		status, text, err := r.post(ctx, token, "/v1/"+namespace+"/emit", []byte(`{"room":"home","event":"mine","data":{"n":1}}`))
		if err == nil && status >= 300 {
			err = fmt.Errorf("status %d: %s", status, text)
		}
		return err
	}}
}

// latencies are how long a victim's calls took, and which of them failed.
type latencies struct {
	took   []time.Duration
	failed []error
}

func (l latencies) percentile(p int) time.Duration {
	if len(l.took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(l.took))
	return sorted[min(len(sorted)-1, len(sorted)*p/100)]
}

func (l latencies) slowest() time.Duration { return l.percentile(100) }

func (l latencies) String() string {
	return fmt.Sprintf("%d calls, p50 %v, p99 %v, slowest %v, %d failed", len(l.took), l.percentile(50).Round(time.Millisecond),
		l.percentile(99).Round(time.Millisecond), l.slowest().Round(time.Millisecond), len(l.failed))
}

// pace is the pause between two calls of a victim, which is an ordinary client.
const pace = 10 * time.Millisecond

// calm measures the victim without an attacker, n times.
func (v *victim) calm(t *testing.T, n int) latencies {
	t.Helper()
	var l latencies
	v.measure(t.Context(), &l, func() bool { return len(l.took)+len(l.failed) >= n })
	if len(l.failed) > 0 {
		t.Fatalf("the victim's %s fails without an attacker: %v", v.name, l.failed[0])
	}
	return l
}

// during measures the victim until the attack has ended, and once more after it.
func (v *victim) during(t *testing.T, attack func()) latencies {
	t.Helper()
	over := make(chan struct{})
	go func() {
		defer close(over)
		attack()
	}()
	var l latencies
	v.measure(t.Context(), &l, func() bool {
		select {
		case <-over:
			return true
		default:
			return false
		}
	})
	<-over
	return l
}

func (v *victim) measure(ctx context.Context, l *latencies, enough func() bool) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for !enough() {
		start := time.Now()
		call, cancel := context.WithTimeout(ctx, patience)
		err := v.do(call)
		cancel()
		l.took = append(l.took, time.Since(start))
		if err != nil {
			l.failed = append(l.failed, err)
		}
		<-tick.C
	}
}

// noise is how much a busy machine may add to a call by itself: the limit for a victim's
// calls is never lower.
const noise = 2 * time.Second

// unharmed fails the test when the victim was refused, or waited longer than 5 times as
// long as without the attacker.
func (v *victim) unharmed(t *testing.T, calm, attacked latencies) {
	t.Helper()
	t.Logf("the victim's %s without the attacker: %v", v.name, calm)
	t.Logf("the victim's %s with the attacker:    %v", v.name, attacked)
	if n := len(attacked.failed); n > 0 {
		t.Errorf("%d of the victim's %d calls failed, the first with: %v", n, len(attacked.took), attacked.failed[0])
	}
	limit := max(noise, 5*calm.percentile(99))
	if slowest := attacked.slowest(); slowest > limit {
		t.Errorf("the victim's slowest %s took %v; with a p99 of %v without the attacker, %v is the limit", v.name, slowest, calm.percentile(99), limit)
	}
}
