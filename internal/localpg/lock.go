package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lockPatience is enough for a holder that was just killed and has not ended yet.
const lockPatience = time.Second

// lock reserves a folder for this process. The file is flock'ed, so the lock ends with the process,
// however that ends; the postmaster does not inherit it.
type lock struct {
	file *os.File
}

// acquire locks the file at path, waiting at most for patience, or returns an error that says who
// holds it.
func acquire(ctx context.Context, path string, patience time.Duration) (*lock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := patient(ctx, patience)
	defer cancel()
	err = poll(ctx, func() (bool, error) {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
			return false, nil
		}
		return err == nil, err
	})
	if err == nil {
		return &lock{file: file}, nil
	}
	if errors.Is(err, errPatience) {
		err = held(path)
	}
	return nil, errors.Join(err, file.Close())
}

// held returns an error that says who holds the lock and how to use that Postgres instead.
func held(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInUse, err)
	}
	pid, address, _ := strings.Cut(strings.TrimSpace(string(raw)), "\n")
	if address == "" {
		return fmt.Errorf("%w: another process is opening %s", ErrInUse, filepath.Dir(path))
	}
	return fmt.Errorf("%w: process %s runs the Postgres in %s; stop that process, "+
		"or share its Postgres: --database-url '%s'", ErrInUse, pid, filepath.Dir(path), address)
}

// describe writes into the file who holds the lock and where its Postgres answers.
func (l *lock) describe(address string) error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"+address+"\n"), 0)
	return err
}

// release gives the folder up. The file is kept: if it were removed, two
// processes could lock two different files of that name.
func (l *lock) release() error {
	// Closing is not enough: a process that is just being forked has a copy of the
	// descriptor until it calls exec.
	emptied := l.file.Truncate(0)
	unlocked := syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN)
	return errors.Join(emptied, unlocked, l.file.Close())
}
