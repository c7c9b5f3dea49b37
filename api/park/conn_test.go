package park

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http/httputil"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvertmq/culvert/api/internal/apitest"
)

func newPool(t *testing.T) *Pool {
	t.Helper()
	p := New(300*time.Millisecond, slog.New(slog.DiscardHandler))
	t.Cleanup(p.Close)
	c := p.Conn("")
	if c == nil {
		t.Skip("not on this system")
	}
	c.Drop()
	return p
}

// talker writes frames, and then ends the answer.
type talker struct {
	conn   *Conn
	frames [][]byte
	end    bool
	leave  atomic.Bool
	left   atomic.Int64
	failed atomic.Pointer[error]
	closed chan struct{}
}

// Run implements Runner.
func (k *talker) Run() Verdict {
	for !k.leave.Load() {
		if len(k.frames) > 0 {
			if taken, _ := k.conn.Add(k.frames[0]); taken {
				k.frames = k.frames[1:]
				continue
			}
		} else if k.end {
			k.conn.End()
		}
		done, err := k.conn.Flush()
		if err != nil {
			k.failed.Store(&err)
			break
		}
		if !done {
			k.conn.Alarm(time.Now().Add(time.Hour))
			return Parks
		}
		if len(k.frames) > 0 {
			continue
		}
		if k.end {
			break
		}
		return Parks
	}
	k.conn.Close()
	close(k.closed)
	return Keep
}

// Left implements Runner.
func (k *talker) Left() {
	k.left.Add(1)
	k.leave.Store(true)
}

// pair returns a parked connection and its peer.
func pair(t *testing.T, p *Pool, lane string, end bool, frames ...[]byte) (*talker, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	own, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	k := &talker{conn: p.Conn(lane), frames: frames, end: end, closed: make(chan struct{})}
	if err := k.conn.Attach(own, k); err != nil {
		t.Fatal(err)
	}
	k.conn.Wake(0)
	k.conn.Park()
	tcp, _ := peer.(*net.TCPConn)
	return k, tcp
}

// Small and long frames arrive as they are, in chunks, also at a peer that reads slowly.
func TestFramesArriveInChunks(t *testing.T) {
	p := newPool(t)
	var frames [][]byte
	for i := range 3000 {
		size := i % 700
		if i%100 == 99 {
			size = 3 * PieceSize
		}
		frames = append(frames, bytes.Repeat([]byte{byte('a' + i%26)}, size+1))
	}
	want := bytes.Join(frames, nil)
	_, peer := pair(t, p, "a", true, frames...)
	time.Sleep(100 * time.Millisecond)
	raw, err := io.ReadAll(peer)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(raw, []byte("\r\n0\r\n\r\n")) {
		t.Errorf("the answer ends with %q", raw[max(0, len(raw)-20):])
	}
	got, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(raw)))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrived, want %d; %v", len(got), len(want), err)
	}
}

// A peer that does not read delays nobody, and is cut off at its deadline.
func TestASlowPeerDelaysNobody(t *testing.T) {
	p := newPool(t)
	big := bytes.Repeat([]byte("x"), 16<<20)
	start := time.Now()
	slow, _ := pair(t, p, "a", true, big)
	for range 20 {
		_, peer := pair(t, p, "a", true, []byte("hello"))
		if got, err := io.ReadAll(peer); err != nil || string(got) != "5\r\nhello\r\n0\r\n\r\n" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	<-slow.closed
	if err := slow.failed.Load(); err == nil || !errors.Is(*err, os.ErrDeadlineExceeded) {
		t.Errorf("the slow one ended with %v", err)
	}
	if took := time.Since(start); took < 300*time.Millisecond {
		t.Errorf("it was cut off after %v", took)
	}
}

// A peer that closes its connection, or only its own side, is noticed at once.
func TestAPeerThatLeavesIsNoticed(t *testing.T) {
	p := newPool(t)
	for name, leave := range map[string]func(*net.TCPConn) error{
		"close": (*net.TCPConn).Close, "half": (*net.TCPConn).CloseWrite,
		"reset": func(c *net.TCPConn) error { _ = c.SetLinger(0); return c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			k, peer := pair(t, p, "a", false)
			if err := leave(peer); err != nil {
				t.Fatal(err)
			}
			select {
			case <-k.closed:
			case <-time.After(5 * time.Second):
				t.Error("it was not noticed")
			}
		})
	}
	k, peer := pair(t, p, "a", false)
	if err := peer.Close(); err != nil { // maybe before the pool watches it
		t.Fatal(err)
	}
	<-k.closed
}

// What a peer sends is not read, and does not destroy the end of the answer.
func TestInputIsIgnored(t *testing.T) {
	p := newPool(t)
	k, peer := pair(t, p, "a", false)
	if _, err := io.WriteString(peer, strings.Repeat("GET / HTTP/1.1\r\n\r\n", 500)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	if k.left.Load() > 0 {
		t.Fatal("input counts as leaving")
	}
	last, peer := pair(t, p, "a", true, []byte("bye"))
	_, _ = io.WriteString(peer, "more")
	if got, err := io.ReadAll(peer); err != nil || string(got) != "3\r\nbye\r\n0\r\n\r\n" {
		t.Errorf("%q, %v", got, err)
	}
	<-last.closed
}

// Close closes what is left, and no descriptor stays open.
func TestNothingStaysOpen(t *testing.T) {
	count := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(all)
	}
	before := count()
	p := New(time.Second, slog.New(slog.DiscardHandler))
	var peers []*net.TCPConn
	for i := range 50 {
		_, peer := pair(t, p, "a", i%2 == 0, []byte("hello"))
		peers = append(peers, peer)
	}
	p.Conn("a").Drop()
	p.Close()
	p.Close()
	if p.Conn("a") != nil {
		t.Error("a closed pool makes connections")
	}
	for _, peer := range peers {
		peer.Close()
	}
	apitest.Until(t, func() bool { return count() <= before })
	if n := len(p.m.queue.lanes); n > 0 {
		t.Errorf("%d lanes are left", n)
	}
}
