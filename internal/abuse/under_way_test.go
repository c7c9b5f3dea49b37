package abuse

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hold is how long an attacker holds what it has without doing anything else.
const hold = 3 * time.Second

// mob opens n connections at once, which all do the same, and returns a function that closes them.
func (r *rig) mob(n int, act func(c *net.TCPConn)) (disperse func()) {
	address := strings.TrimPrefix(r.url, "http://")
	var mu sync.Mutex
	var all []*net.TCPConn
	var acting sync.WaitGroup
	places := make(chan struct{}, 16) // how many act at the same time
	for range n {
		acting.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			c, err := net.DialTimeout("tcp", address, patience)
			if err != nil {
				return // refused: a bound may do that
			}
			mu.Lock()
			all = append(all, c.(*net.TCPConn))
			mu.Unlock()
			_ = c.SetDeadline(time.Now().Add(patience))
			act(c.(*net.TCPConn))
		})
	}
	acting.Wait()
	return func() {
		for _, c := range all {
			_ = c.Close()
		}
	}
}

// linger waits while the attackers hold what they have.
func linger(t *testing.T) {
	select {
	case <-time.After(hold):
	case <-t.Context().Done():
	}
}

// TestPagesThatNobodyReads asks for pages of 4 MiB from many connections, and reads none.
//
// The bound: the pages of a client hold 32 MiB (--max-memory-client), and 256 requests of
// 64 KiB are 16 MiB. Memory that the garbage collector has not freed yet is as much again, and 32 MiB
// are for other work of the server.
func TestPagesThatNobodyReads(t *testing.T) {
	r := newRig(t)
	r.fill("thief", "hoard", 32, 250<<10)
	token := r.token("thief", "mallory")
	n := 150
	if *full {
		n = 500
	}
	v := r.emitter("home")
	calm := v.calm(t, 200)
	m := r.watch()
	attacked := v.during(t, func() {
		defer r.mob(n, func(c *net.TCPConn) {
			_ = c.SetReadBuffer(4 << 10)
			for range 3 { // the system's buffers take the first page, and a part of the next
				fmt.Fprintf(c, "GET /v1/thief/rooms/hoard/events?limit=1000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", token)
			}
		})()
		linger(t)
		linger(t)
	})
	m.end()
	m.within(128*mib, 128*mib)
	v.unharmed(t, calm, attacked)
	r.serves(token, "/v1/thief/rooms/hoard/events?limit=1")
}

// fill stores n events of size bytes in a room.
func (r *rig) fill(namespace, room string, n, size int) {
	r.t.Helper()
	body, err := json.Marshal(map[string]any{"room": room, "event": "e", "data": strings.Repeat("x", size)})
	if err != nil {
		r.t.Fatal(err)
	}
	for range n {
		if status, text, err := r.post(r.t.Context(), apiKey, "/v1/"+namespace+"/emit", body); err != nil || status != http.StatusCreated {
			r.t.Fatalf("fill: %d %s %v", status, text, err)
		}
	}
}

// serves checks that the attacker's client is served again soon after it has released what it held.
func (r *rig) serves(token, path string) {
	r.t.Helper()
	var status int
	var text string
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(pace) {
		status, text, err = r.do(r.t.Context(), http.MethodGet, token, path, "", nil)
		if err == nil && status == http.StatusOK {
			return
		}
	}
	r.t.Errorf("a client that has released what it held is not served: %d %.200s %v", status, text, err)
}

// TestBodiesThatLackTheirLastByte sends emits of 1 MiB without their last byte.
//
// The bound: the bodies of a client hold 32 MiB; the rest is as in TestPagesThatNobodyReads.
func TestBodiesThatLackTheirLastByte(t *testing.T) {
	r := newRig(t)
	r.namespace("thief", `{}`)
	token := r.token("thief", "mallory")
	n := 300
	if *full {
		n = 1500
	}
	body := []byte(`{"events":[` + strings.Repeat(`{"event":"e","data":"`+strings.Repeat("x", 200<<10)+`"},`, 5) + `{"event":"e"}]}`)
	v := r.emitter("home")
	calm := v.calm(t, 200)
	m := r.watch()
	attacked := v.during(t, func() {
		defer r.mob(n, func(c *net.TCPConn) {
			fmt.Fprintf(c, "POST /v1/thief/emit HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", token, len(body))
			_, _ = c.Write(body[:len(body)-1])
		})()
		linger(t)
	})
	m.end()
	m.within(128*mib, 128*mib)
	v.unharmed(t, calm, attacked)
	r.serves(token, "/v1/thief/rooms/r/events?limit=1")
}

// TestOrdinaryUseIsNotHindered is what the limits must let through: an upload of NDJSON of
// any length, a backend with many large emits at once, and many streams.
func TestOrdinaryUseIsNotHindered(t *testing.T) {
	r := newRig(t)
	t.Run("upload", func(t *testing.T) {
		size := 16 * mib
		if *full {
			size = 64 * mib
		}
		line := []byte(`{"room":"r","event":"e","data":"` + strings.Repeat("x", 1000) + "\"}\n")
		body := bytes.Repeat(line, size/len(line))
		status, text, err := r.do(t.Context(), http.MethodPost, apiKey, "/v1/bulk/emit", "application/x-ndjson", body)
		if n := strings.Count(text, `"offset"`); err != nil || status != http.StatusOK || n != size/len(line) {
			t.Errorf("%d, %d of %d lines were stored, the end is %.300q, %v", status, n, size/len(line), text[max(0, len(text)-300):], err)
		}
	})
	t.Run("backend", func(t *testing.T) {
		body := []byte(`{"room":"r","event":"e","data":"` + strings.Repeat("x", 100<<10) + `"}`)
		if statuses := r.crowd(200, apiKey, "/v1/bulk/emit", body); statuses[http.StatusCreated] != 200 {
			t.Errorf("statuses %v", statuses)
		}
	})
	t.Run("streams", func(t *testing.T) {
		n := 500
		if *full {
			n = 3000
		}
		var open atomic.Int64
		disperse := r.mob(n, func(c *net.TCPConn) {
			fmt.Fprintf(c, "GET /v1/bulk/events?client=c%p HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n", c, apiKey)
			if res, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && res.StatusCode == http.StatusOK {
				open.Add(1)
			}
		})
		defer disperse()
		if open.Load() != int64(n) {
			t.Errorf("%d of %d streams are open", open.Load(), n)
		}
	})
}
