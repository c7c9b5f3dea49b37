package abuse

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// strangerRoutes are requests without good credentials, without their bodies.
var strangerRoutes = []string{
	"GET /livez", "GET /readyz", "GET /openapi.yaml", "GET /problems/invalid", "GET /no/such/route",
	"POST /livez", "OPTIONS /v1/default/emit", "POST /demo/token", "POST /v1/default/emit", "PUT /v1/default/no/such/route",
}

// TestBodiesThatTrickleFromStrangers begins requests without credentials and sends a byte
// of their bodies now and then, from more connections than may be held.
//
// The bound: 100 such requests are held (--max-anonymous), each of less than 64 KiB; the
// others are cut off while they still send.
func TestBodiesThatTrickleFromStrangers(t *testing.T) {
	const held = 100
	r := newRig(t, "--demo", "--max-anonymous-address", fmt.Sprint(held))
	n := 500
	if *full {
		n = 5000
	}
	v := r.emitter("home")
	calm := v.calm(t, 200)
	m := r.watch()
	attacked := v.during(t, func() {
		var route atomic.Int64
		var mu sync.Mutex
		var mine []*net.TCPConn
		disperse := r.mob(n, func(c *net.TCPConn) {
			fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nx", strangerRoutes[int(route.Add(1))%len(strangerRoutes)])
			mu.Lock()
			defer mu.Unlock()
			mine = append(mine, c)
		})
		defer disperse()
		open := trickle(t, mine, func(open int) bool { return open <= held })
		t.Logf("%d of %d are held", open, n)
		if open > held {
			t.Errorf("%d trickled bodies are held, more than %d", open, held)
		}
	})
	m.end()
	m.within(64*mib, 128*mib)
	v.unharmed(t, calm, attacked)
}

// trickle sends a byte on each connection from time to time, until enough are closed, or
// for half a minute, and returns how many are open.
func trickle(t *testing.T, all []*net.TCPConn, enough func(open int) bool) (open int) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		still := all[:0]
		for _, c := range all {
			if isOpen(c) {
				still = append(still, c)
			}
		}
		if all = still; enough(len(all)) {
			break
		}
	}
	return len(all)
}

// isOpen sends a byte, reads what has come of an answer, and reports whether the connection is open.
func isOpen(c *net.TCPConn) bool {
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte{'x'}); err != nil {
		return false
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	buf := make([]byte, 4<<10)
	for {
		if _, err := c.Read(buf); err != nil {
			return errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
}

// TestStreamsOfHTTP2ThatNobodyReads asks for the largest file without credentials on the maximum
// number of streams of many connections, and does not let the server send any of it.
//
// The bound: 100 streams of a connection begin, and each takes 12 KiB until it is cut
// off. 512 of them are held for one address, and the garbage collector is behind by some MiB.
func TestStreamsOfHTTP2ThatNobodyReads(t *testing.T) {
	r := newRig(t)
	n := 60
	if *full {
		n = 300
	}
	v := r.emitter("home")
	calm := v.calm(t, 200)
	m := r.watch()
	attacked := v.during(t, func() {
		defer r.mob(n, func(c *net.TCPConn) { openStreams(c, 250) })()
		linger(t)
	})
	m.end()
	m.within(int64(24*mib+n*100*12<<10), 128*mib)
	v.unharmed(t, calm, attacked)
}

// openStreams opens streams on which the server may send no data.
func openStreams(c net.Conn, n int) {
	const headers, settings = 1, 4 // types of frames
	const endStream, endHeaders = 1, 4
	var b []byte
	frame := func(kind, flags byte, stream uint32, payload string) {
		b = append(b, 0, byte(len(payload)>>8), byte(len(payload)), kind, flags) //nolint:gosec // payloads here are short
		b = append(binary.BigEndian.AppendUint32(b, stream), payload...)
	}
	b = append(b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"...)
	frame(settings, 0, 0, "\x00\x04\x00\x00\x00\x00") // SETTINGS_INITIAL_WINDOW_SIZE is 0
	path := "/openapi.yaml"
	for i := range n {
		// Of the static table (RFC 7541, appendix A): GET, http, :authority, :path.
		frame(headers, endStream|endHeaders, uint32(2*i+1), "\x82\x86\x01\x01x\x04"+string(rune(len(path)))+path) //nolint:gosec // few
	}
	_, _ = c.Write(b)
	go func() { _, _ = io.Copy(io.Discard, c) }() // reads SETTINGS and resets until the end of the attack
}

// TestRequestsFramedTwice: a proxy may understand a request with both a length and chunks in another
// way, so the server ignores what follows on the connection.
func TestRequestsFramedTwice(t *testing.T) {
	r := newRig(t)
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	token := r.token("home", "mallory")
	body := `{"room":"r","event":"e"}`
	smuggled := fmt.Sprintf("GET /v1/home/rooms/r/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", token)
	fmt.Fprintf(c, "POST /v1/home/emit HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n%s", token, len(body), len(body), body, smuggled)
	answers := bufio.NewReader(c)
	res, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	if !res.Close {
		t.Errorf("answered %d, and the connection is still used", res.StatusCode)
	}
	if rest, err := io.ReadAll(answers); len(rest) > 0 {
		t.Errorf("the bytes after the request were answered with %.200q, %v", rest, err)
	}
}
