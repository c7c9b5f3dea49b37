package park

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// watched is told what happens on its socket.
type watched interface {
	writable()
	left()
}

// poller learns from epoll what happens on all sockets. It is edge-triggered: a socket is registered once, and writing
// to it causes no more system calls than the writes.
type poller struct {
	epoll *os.File
	raw   syscall.RawConn

	mu     sync.Mutex
	lastID uint64
	all    map[uint64]watched
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	// The runtime's own poller watches this one, so that run waits without a thread.
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	p := &poller{epoll: os.NewFile(uintptr(fd), "epoll"), all: map[uint64]watched{}}
	if p.raw, err = p.epoll.SyscallConn(); err != nil {
		return nil, errors.Join(err, p.epoll.Close())
	}
	return p, nil
}

// interest: input is not read, so that a client that sends more cannot make the server work. That the client has
// closed its side is noticed nevertheless.
const interest = unix.EPOLLRDHUP | unix.EPOLLOUT | unix.EPOLLET

// add watches a socket until remove is called with the id it returns.
func (p *poller) add(s socket, w watched) (id uint64, err error) {
	p.mu.Lock()
	p.lastID++
	id = p.lastID
	p.all[id] = w
	p.mu.Unlock()
	event := unix.EpollEvent{Events: interest, Fd: int32(uint32(id)), Pad: int32(uint32(id >> 32))} //nolint:gosec // two halves of the id
	if err = p.control(unix.EPOLL_CTL_ADD, s, &event); err != nil {
		p.forget(id)
	}
	return id, err
}

// remove must be called before the socket is closed.
func (p *poller) remove(s socket, id uint64) {
	_ = p.control(unix.EPOLL_CTL_DEL, s, &unix.EpollEvent{})
	p.forget(id)
}

func (p *poller) forget(id uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, id)
}

func (p *poller) control(op int, s socket, event *unix.EpollEvent) (err error) {
	if closed := p.raw.Control(func(epoll uintptr) {
		err = unix.EpollCtl(int(epoll), op, int(s), event)
	}); closed != nil {
		return closed
	}
	return err
}

// run tells what happens, until stop.
func (p *poller) run() {
	events := make([]unix.EpollEvent, 256)
	for {
		n := 0
		var err error
		closed := p.raw.Read(func(epoll uintptr) bool {
			n, err = unix.EpollWait(int(epoll), events, 0)
			return n > 0 || err != nil
		})
		if closed != nil || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		for i := range max(n, 0) {
			p.tell(&events[i])
		}
	}
}

func (p *poller) tell(e *unix.EpollEvent) {
	p.mu.Lock()
	w := p.all[uint64(uint32(e.Fd))|uint64(uint32(e.Pad))<<32] //nolint:gosec // two halves of the id
	p.mu.Unlock()
	switch {
	case w == nil: // it was removed since
	case e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0:
		w.left()
	case e.Events&unix.EPOLLOUT != 0:
		w.writable()
	}
}

// each calls f for all that are watched.
func (p *poller) each(f func(watched)) {
	p.mu.Lock()
	all := make([]watched, 0, len(p.all))
	for _, w := range p.all {
		all = append(all, w)
	}
	p.mu.Unlock()
	for _, w := range all {
		f(w)
	}
}

func (p *poller) stop() { _ = p.epoll.Close() }

// socket is a descriptor that is not the runtime's.
type socket int

// takeSocket returns a descriptor of the same connection. The other one can then be closed.
func takeSocket(from syscall.Conn) (s socket, err error) {
	raw, err := from.SyscallConn()
	if err != nil {
		return -1, err
	}
	var fd int
	if closed := raw.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }); closed != nil {
		return -1, closed
	}
	return socket(fd), err
}

// write writes what the socket takes at once; 0 bytes: it takes none.
func (s socket) write(rest *[3][]byte) (n int, err error) {
	for {
		if rest[1] == nil {
			n, err = unix.Write(int(s), rest[0])
		} else {
			n, err = unix.Writev(int(s), rest[:])
		}
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, unix.EAGAIN):
			return 0, nil
		case !errors.Is(err, unix.EINTR):
			return 0, err
		}
	}
}

// discard reads some of the input that has arrived.
func (s socket) discard() {
	var input [4 << 10]byte
	for range 16 {
		if n, _ := unix.Read(int(s), input[:]); n <= 0 {
			return
		}
	}
}

func (s socket) close() { _ = unix.Close(int(s)) }
