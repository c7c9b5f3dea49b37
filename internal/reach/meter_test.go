package reach

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// meter counts the bytes of HTTP in both directions, including headers and chunks, but
// without TCP and IP headers and TLS.
type meter struct{ up, down atomic.Int64 }

// traffic is bytes, to the server and from it.
type traffic struct{ up, down int64 }

func (m *meter) read() traffic { return traffic{m.up.Load(), m.down.Load()} }

// since returns the traffic after a reading.
func (m *meter) since(t traffic) traffic {
	now := m.read()
	return traffic{now.up - t.up, now.down - t.down}
}

// per returns the traffic divided by n, rounded.
func (t traffic) per(n int) traffic {
	share := func(all int64) int64 { return (all + int64(n)/2) / int64(n) }
	return traffic{share(t.up), share(t.down)}
}

func (t traffic) all() int64 { return t.up + t.down }

// tally counts before it passes on, so that everything that has arrived is counted.
type tally struct {
	io.Writer
	n *atomic.Int64
}

func (t tally) Write(b []byte) (int, error) {
	t.n.Add(int64(len(b)))
	return t.Writer.Write(b)
}

// metered returns the address of a cable to the instances, and its meter.
func (s *scene) metered(t *testing.T) (string, *meter) {
	m := &meter{}
	return s.cable(t, func(client, instance *net.TCPConn) {
		both(client, instance, tally{instance, &m.up}, io.TeeReader(instance, tally{io.Discard, &m.down}))
	}), m
}
