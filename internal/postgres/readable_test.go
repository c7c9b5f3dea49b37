//go:build unix

package postgres

import (
	"net"
	"testing"
	"time"
)

// The look at a connection waits for nobody, not even for a read that is under way.
func TestReadable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	pair := func() (client, server net.Conn) {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		if server, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		return client, server
	}
	soon := func(client net.Conn) bool {
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if readable(client) {
				return true
			}
		}
		return false
	}

	read, _ := pair()
	go func() { _, _ = read.Read(make([]byte, 1)) }() // ends with the test
	time.Sleep(50 * time.Millisecond)
	looked := make(chan bool, 1)
	go func() { looked <- readable(read) }()
	select {
	case got := <-looked:
		if got {
			t.Error("a connection that is read from, and has nothing to read, is readable")
		}
	case <-time.After(5 * time.Second):
		t.Error("it waits for another read")
	}

	written, server := pair()
	if readable(written) {
		t.Error("an idle connection is readable")
	}
	if _, err := server.Write([]byte("N")); err != nil {
		t.Fatal(err)
	}
	if !soon(written) {
		t.Error("one that was written to is not")
	}
	if b := make([]byte, 1); true {
		if _, err := written.Read(b); err != nil || b[0] != 'N' {
			t.Errorf("the look took %q: %v", b, err)
		}
	}

	ended, server := pair()
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if !soon(ended) {
		t.Error("one that the other side closed is not")
	}
}
