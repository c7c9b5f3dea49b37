//go:build unix

package postgres

import (
	"net"
	"testing"
	"time"
)

func TestReadable(t *testing.T) {
	client, server := connected(t)
	if readable(client) {
		t.Error("an idle connection is readable")
	}
	if _, err := server.Write([]byte("N")); err != nil {
		t.Fatal(err)
	}
	if !soonReadable(client) {
		t.Error("one that was written to is not")
	}
	b := make([]byte, 1)
	if _, err := client.Read(b); err != nil || b[0] != 'N' {
		t.Errorf("%q is left to read: %v", b, err)
	}
	if readable(client) {
		t.Error("one whose bytes were read is readable")
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if !soonReadable(client) {
		t.Error("one that the other side closed is not")
	}
}

// readable does not wait for a read that is under way in another goroutine.
func TestReadableDuringARead(t *testing.T) {
	client, _ := connected(t)
	go func() { _, _ = client.Read(make([]byte, 1)) }() // until the connection is closed
	time.Sleep(50 * time.Millisecond)
	result := make(chan bool, 1)
	go func() { result <- readable(client) }()
	select {
	case got := <-result:
		if got {
			t.Error("a connection with nothing to read is readable")
		}
	case <-time.After(5 * time.Second):
		t.Error("readable waits for the read")
	}
}

// connected is a connection over TCP, closed on both sides after the test.
func connected(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

// soonReadable waits until what was sent has arrived.
func soonReadable(c net.Conn) bool {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if readable(c) {
			return true
		}
	}
	return false
}
