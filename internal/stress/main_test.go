package stress

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/culvertmq/culvert/cmd"
)

// beCulvert makes the test binary the program itself, so that it can be killed.
const beCulvert = "STRESS_BE_CULVERT"

func TestMain(m *testing.M) {
	endWithParent()
	if os.Getenv(beCulvert) != "" {
		ctx := cmd.UntilSignal(context.Background())
		os.Exit(cmd.Run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
	}
	if dsn := os.Getenv(beHandler); dsn != "" {
		handle(cmd.UntilSignal(context.Background()), dsn)
		return
	}
	if dsn := os.Getenv(beWorker); dsn != "" {
		work(cmd.UntilSignal(context.Background()), dsn)
		return
	}
	goleak.VerifyTestMain(m)
}

const apiKey = "the-key-of-the-stress-test"

// instance is a Culvert process that can be killed and started again at the
// same address.
type instance struct {
	t    *testing.T
	env  string
	args []string
	url  string

	mu     sync.Mutex
	proc   *exec.Cmd
	stderr bytes.Buffer
}

func newInstance(t *testing.T, dsn string, args ...string) *instance {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	in := &instance{t: t, env: beCulvert + "=1", url: "http://" + address + "/v1/default"}
	in.args = append([]string{
		"serve", "--listen", address, "--admin-listen=", "--api-keys", apiKey,
		"--database-url", dsn, "--data", t.TempDir(), "--heartbeat=1", "--log-level=error",
	}, args...)
	in.start()
	t.Cleanup(in.kill)
	return in
}

// start returns when the instance is ready.
func (in *instance) start() {
	in.t.Helper()
	in.mu.Lock()
	defer in.mu.Unlock()
	ready := make(chan struct{})
	in.proc = exec.Command(os.Args[0], in.args...)
	in.proc.Env = append(os.Environ(), in.env)
	in.proc.Stderr = &watch{to: &in.stderr, ready: ready}
	if err := in.proc.Start(); err != nil {
		in.t.Error(err)
		return
	}
	select {
	case <-ready:
	case <-time.After(time.Minute):
		in.t.Errorf("the instance is not ready; it said:\n%s", in.stderr.String())
	}
}

// kill is kill -9.
func (in *instance) kill() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.proc == nil {
		return
	}
	_ = in.proc.Process.Kill()
	_ = in.proc.Wait() // "signal: killed" is expected
	in.proc = nil
}

// watch keeps the output of a process and signals when it is ready.
type watch struct {
	to    *bytes.Buffer
	ready chan struct{}
	once  sync.Once
}

func (w *watch) Write(b []byte) (int, error) {
	n, err := w.to.Write(b)
	if strings.Contains(w.to.String(), "ready http://") {
		w.once.Do(func() { close(w.ready) })
	}
	return n, err
}

// name makes a unique name of an event.
func name(publisher, n int) string { return fmt.Sprintf("%d-%d", publisher, n) }
