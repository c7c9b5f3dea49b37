package abuse

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const mib = 1 << 20

// memory is measured repeatedly while an attack lasts.
type memory struct {
	t                *testing.T
	before           int64 // of the server, when the watch began
	server, backends int64 // the maximum that was measured

	stop chan struct{}
	done sync.WaitGroup
}

// watch reads the memory of the server and of Postgres' backends every few milliseconds.
// Without /proc it reads nothing, and the bounds are not checked.
func (r *rig) watch() *memory {
	m := &memory{t: r.t, stop: make(chan struct{})}
	if runtime.GOOS != "linux" {
		return m
	}
	m.before = resident(r.pid)
	m.server = m.before
	if m.before == 0 {
		r.t.Fatalf("there is no memory to be read of process %d", r.pid)
	}
	postmaster := r.postmaster()
	m.done.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-m.stop:
				return
			case <-tick.C:
			}
			m.server = max(m.server, resident(r.pid))
			var sum int64
			for _, pid := range children(postmaster) {
				sum += private(pid)
			}
			m.backends = max(m.backends, sum)
		}
	})
	return m
}

// end stops the watch.
func (m *memory) end() {
	close(m.stop)
	m.done.Wait()
	m.t.Logf("the server grew by %d MiB from %d; the backends of Postgres took up to %d MiB of their own",
		(m.server-m.before)/mib, m.before/mib, m.backends/mib)
}

// within fails the test if the server grew by more, or if all backends of Postgres together held
// more, without the shared buffers.
func (m *memory) within(server, backends int64) {
	m.t.Helper()
	if grown := m.server - m.before; grown > server {
		m.t.Errorf("the server grew by %d MiB, more than %d", grown/mib, server/mib)
	}
	if m.backends > backends {
		m.t.Errorf("the backends of Postgres took %d MiB of their own, more than %d", m.backends/mib, backends/mib)
	}
}

// resident returns the memory of a process in bytes; 0 if it cannot be read.
func resident(pid int) int64 { return status(pid, "VmRSS:") }

// private returns the memory that a process does not share: without the shared buffers of Postgres.
func private(pid int) int64 { return status(pid, "RssAnon:") }

func status(pid int, field string) int64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == field {
			kib, _ := strconv.ParseInt(words[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// postmaster returns the pid of the parent of the backends.
func (r *rig) postmaster() int {
	r.t.Helper()
	var pid int
	if err := r.connect().QueryRow(r.t.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		r.t.Fatal(err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		r.t.Fatal(err)
	}
	// The name, in brackets, may have blanks.
	_, rest, _ := strings.Cut(string(text), ") ")
	parent, err := strconv.Atoi(strings.Fields(rest)[1])
	if err != nil {
		r.t.Fatal(err)
	}
	return parent
}

func children(pid int) (pids []int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	for _, word := range strings.Fields(string(text)) {
		if child, err := strconv.Atoi(word); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}
