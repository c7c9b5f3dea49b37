package reach

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvertmq/culvert/cmd"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
)

// beCulvert makes the test binary the program itself.
const beCulvert = "REACH_BE_CULVERT"

func TestMain(m *testing.M) {
	if os.Getenv(beCulvert) != "" {
		ctx := cmd.UntilSignal(context.Background())
		os.Exit(cmd.Run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
	}
	if os.Getenv(beTraveller) != "" {
		os.Exit(beClient(os.Args[1]))
	}
	pgtest.Main(m, migrations.Up)
}

const (
	apiKey    = "the-key-of-the-reach-test"
	jwtSecret = "a secret that only the reach test knows"
	// heartbeat is above the 5 s that some of the paths allow for silence.
	heartbeat = "6"
)

// startInstance returns the address of a Culvert process, once it is ready.
func startInstance(t *testing.T, dsn, heartbeat string) string {
	t.Helper()
	address := freeAddress(t)
	ready := &watch{what: "ready http://", seen: make(chan struct{})}
	p := exec.Command(os.Args[0], "serve", "--listen", address, "--admin-listen=", "--api-keys", apiKey,
		"--jwt-secret", jwtSecret, "--database-url", dsn, "--data", t.TempDir(), "--heartbeat", heartbeat, "--log-level=error")
	p.Env = append(os.Environ(), beCulvert+"=1")
	p.Stderr = ready
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait() // "signal: killed" is expected
	})
	select {
	case <-ready.seen:
	case <-time.After(time.Minute):
		t.Fatalf("the instance is not ready; it said:\n%s", ready)
	}
	return address
}

// freeAddress returns an address on which nobody listens at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// watch keeps the output of a process and signals when a text has come.
type watch struct {
	what string
	seen chan struct{}
	once sync.Once

	mu   sync.Mutex
	said bytes.Buffer
}

func (w *watch) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.said.Write(b)
	if w.seen != nil && strings.Contains(w.said.String(), w.what) {
		w.once.Do(func() { close(w.seen) })
	}
	return n, err
}

func (w *watch) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.String()
}
