package stress

import (
	"io"
	"net"
	"sync"
)

// forwarder is the address that clients of Postgres know. The server behind it
// changes at a failover; while its gate is shut, nobody can connect.
type forwarder struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	network string
	address string
	open    bool
	conns   map[net.Conn]struct{}
}

func newForwarder() (*forwarder, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &forwarder{listener: l, conns: map[net.Conn]struct{}{}}
	f.wg.Go(f.accept)
	return f, nil
}

func (f *forwarder) port() string {
	_, port, _ := net.SplitHostPort(f.listener.Addr().String())
	return port
}

// dsn is the database culvert as seen through the forwarder.
func (f *forwarder) dsn() string {
	return "postgres://culvert@127.0.0.1:" + f.port() + "/culvert?sslmode=disable"
}

// to opens the gate to a server.
func (f *forwarder) to(network, address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.network, f.address, f.open = network, address, true
}

// shut cuts every connection and refuses new ones.
func (f *forwarder) shut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = false
	for c := range f.conns {
		_ = c.Close()
	}
}

func (f *forwarder) close() {
	f.shut()
	_ = f.listener.Close()
	f.wg.Wait()
}

func (f *forwarder) accept() {
	for {
		c, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.wg.Go(func() { f.forward(c) })
	}
}

func (f *forwarder) forward(c net.Conn) {
	defer c.Close()
	f.mu.Lock()
	network, address, open := f.network, f.address, f.open
	f.mu.Unlock()
	if !open {
		return
	}
	to, err := net.Dial(network, address)
	if err != nil {
		return
	}
	defer to.Close()
	if !f.keep(c, to) {
		return
	}
	defer f.forget(c, to)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(to, c)
		_ = to.Close()
		_ = c.Close()
	}()
	_, _ = io.Copy(c, to)
	_ = to.Close()
	_ = c.Close()
	<-done
}

// keep remembers connections to cut; it returns false if the gate was shut meanwhile.
func (f *forwarder) keep(conns ...net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		if f.open {
			f.conns[c] = struct{}{}
		}
	}
	return f.open
}

func (f *forwarder) forget(conns ...net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		delete(f.conns, c)
	}
}
