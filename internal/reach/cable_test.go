package reach

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// cable connects each client to the instance whose turn it is. join copies the
// bytes; when it returns, both ends are closed.
func (s *scene) cable(t *testing.T, join func(client, instance *net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	open := map[*net.TCPConn]bool{}
	carry := func(client net.Conn) {
		defer client.Close()
		instance, err := net.Dial("tcp", s.next())
		if err != nil {
			return
		}
		defer instance.Close()
		c, i := client.(*net.TCPConn), instance.(*net.TCPConn)
		mu.Lock()
		open[c], open[i] = true, true
		mu.Unlock()
		join(c, i)
		mu.Lock()
		delete(open, c)
		delete(open, i)
		mu.Unlock()
	}
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { carry(client) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		// A connection may just be opening, so check more than once.
		ended := make(chan struct{})
		go func() { all.Wait(); close(ended) }()
		for {
			mu.Lock()
			for c := range open {
				_ = c.Close()
			}
			mu.Unlock()
			select {
			case <-ended:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return l.Addr().String()
}

// both copies in both directions, through requests and answers, until one direction ends.
func both(client, instance *net.TCPConn, requests io.Writer, answers io.Reader) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(requests, client)
		_ = instance.Close()
	}()
	_, _ = io.Copy(client, answers)
	_ = client.Close() // which ends the other direction, too
	<-done
}

// killAt ends every connection at the same age.
func killAt(age time.Duration) func(client, instance *net.TCPConn) {
	return func(client, instance *net.TCPConn) {
		killer := time.AfterFunc(age, func() {
			_ = client.Close()
			_ = instance.Close()
		})
		defer killer.Stop()
		both(client, instance, instance, instance)
	}
}

// until forwards up to a moment and drops what comes after it.
type until struct {
	io.Writer
	end time.Time
}

func (u until) Write(b []byte) (int, error) {
	if time.Now().After(u.end) {
		return len(b), nil
	}
	return u.Writer.Write(b)
}

// silentFrom forwards nothing from an age on, without closing the connection.
func silentFrom(age time.Duration) func(client, instance *net.TCPConn) {
	return func(client, instance *net.TCPConn) {
		end := time.Now().Add(age)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(until{client, end}, instance)
		}()
		_, _ = io.Copy(until{instance, end}, client)
		_ = instance.Close()
		<-done
	}
}

// resetWithin resets each connection within its first n bytes of answers.
func resetWithin(n int) func(client, instance *net.TCPConn) {
	return func(client, instance *net.TCPConn) {
		answers := io.LimitReader(instance, 1+rand.Int64N(int64(n)))
		_ = client.SetLinger(0)
		both(client, instance, instance, answers)
	}
}

// speakHTTP10 converts every request to HTTP/1.0, on a connection of its own: an
// answer has no chunks and ends with the connection, after at most `most` bytes.
func speakHTTP10(most int64) func(client, instance *net.TCPConn) {
	return func(client, instance *net.TCPConn) {
		r, err := http.ReadRequest(bufio.NewReader(client))
		if err != nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Header.Del("Connection")
		r.Header.Set("Host", r.Host)
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = fmt.Fprintf(instance, "%s %s HTTP/1.0\r\n", r.Method, r.RequestURI)
		_ = r.Header.Write(instance)
		_, _ = fmt.Fprintf(instance, "\r\n%s", body)
		answer := io.Reader(instance)
		if most > 0 {
			answer = io.LimitReader(instance, most)
		}
		both(client, instance, io.Discard, answer)
	}
}
