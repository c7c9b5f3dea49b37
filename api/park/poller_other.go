//go:build !linux

package park

import (
	"errors"
	"syscall"
)

// watched is told what happens on its socket.
type watched interface {
	writable()
	left()
}

// poller and socket are not available on this system: New fails.
type (
	poller struct{}
	socket int
)

func newPoller() (*poller, error)                   { return nil, errors.ErrUnsupported }
func (*poller) add(socket, watched) (uint64, error) { return 0, errors.ErrUnsupported }
func (*poller) remove(socket, uint64)               {}
func (*poller) run()                                {}
func (*poller) each(func(watched))                  {}
func (*poller) stop()                               {}
func takeSocket(syscall.Conn) (socket, error)       { return 0, errors.ErrUnsupported }
func (socket) write(*[3][]byte) (n int, err error)  { return 0, errors.ErrUnsupported }
func (socket) discard()                             {}
func (socket) close()                               {}
