package scripts

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/culvertmq/culvert/internal/tool"
)

// terminal returns both ends of a new pseudo-terminal.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
		tool.Missing(t, "pseudo-terminal") // a chroot, or a container, without devpts
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	var number, unlocked int32
	for request, value := range map[uintptr]*int32{syscall.TIOCGPTN: &number, syscall.TIOCSPTLCK: &unlocked} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, person.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 { //nolint:gosec // ioctl takes a pointer
			t.Fatal(errno)
		}
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return person, program
}

// inTerminal starts `make run` as a shell in a terminal would, and returns a writer for
// its keyboard and a function that waits for its end.
func (s *served) inTerminal(t *testing.T) (keys io.Writer, wait func() error) {
	t.Helper()
	person, program := terminal(t)
	s.command.Stdin, s.command.Stdout, s.command.Stderr = program, program, program
	s.command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	s.endWith(t)
	_ = program.Close()
	var said sync.WaitGroup
	said.Go(func() { _, _ = io.Copy(s, person) }) // until all processes have closed the other end
	return person, func() error {
		defer said.Wait()
		return s.command.Wait()
	}
}

// endWith ends the processes that are left when the test fails.
func (s *served) endWith(t *testing.T) {
	t.Cleanup(func() {
		if t.Failed() {
			_ = syscall.Kill(-s.command.Process.Pid, syscall.SIGTERM)
		}
	})
}

// Ctrl-C ends `make run` without an error.
func TestMakeRunEndsWithCtrlC(t *testing.T) {
	s := makeRun(t)
	keys, wait := s.inTerminal(t)
	s.ready(t)
	if _, err := keys.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	if err := wait(); err != nil {
		t.Errorf("make run after Ctrl-C: %v", err)
	}
	s.inOrder(t)
}

// A signal to make itself always ends make, but the server shuts down first.
func TestMakeRunIsTerminated(t *testing.T) {
	t.Run("make, in a terminal", func(t *testing.T) {
		s := makeRun(t)
		_, wait := s.inTerminal(t)
		s.ready(t)
		if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		s.endsOf(t, syscall.SIGTERM, wait)
	})
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run("its group: "+signal.String(), func(t *testing.T) {
			s := makeRun(t)
			s.command.Stdout, s.command.Stderr = s, s
			s.command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			if err := s.command.Start(); err != nil {
				t.Fatal(err)
			}
			s.endWith(t)
			s.ready(t)
			if err := syscall.Kill(-s.command.Process.Pid, signal); err != nil {
				t.Fatal(err)
			}
			s.endsOf(t, signal, s.command.Wait)
		})
	}
}

// endsOf checks that the signal ends make, and that the server shuts down.
func (s *served) endsOf(t *testing.T, signal syscall.Signal, wait func() error) {
	t.Helper()
	err := wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != signal {
		t.Errorf("make run ended with %v, want %v", err, signal)
	}
	s.inOrder(t)
}
