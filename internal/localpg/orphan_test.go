package localpg

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// startHelper runs this test binary as the process that runs the Postgres of dir,
// and returns the process and the DSN.
func startHelper(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = append(os.Environ(), helperVariable+"="+dir)
	cmd.Stderr = os.Stderr
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // killed by the test's context at the latest
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "postgres:") {
		t.Fatalf("helper: %s %v", line, err)
	}
	return cmd, strings.TrimSpace(line)
}

func TestPostmasterDoesNotOutliveItsKilledParent(t *testing.T) {
	t.Parallel()
	opt := quick(tempDir(t))
	cmd, dsn := startHelper(t, opt.Dir)
	keep(t, dsn)
	postmaster, err := readPidfile(folder(opt.Dir).data())
	if err != nil || !postmaster.ready {
		t.Fatalf("pid file: %+v %v", postmaster, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the postmaster ends", func() bool {
		left, err := readPidfile(folder(opt.Dir).data())
		return err == nil && left.pid == 0 && runsOn(postmaster.pid, folder(opt.Dir).data()) == no
	})
	remember(t, mustStart(t, opt).DSN())
}

func TestStartRightAfterTheParentWasKilled(t *testing.T) {
	t.Parallel()
	opt := quick(tempDir(t))
	cmd, dsn := startHelper(t, opt.Dir)
	keep(t, dsn)
	_, err := Start(t.Context(), opt)
	wantError(t, err, ErrInUse, dsn)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	remember(t, mustStart(t, opt).DSN())
}

func TestCtrlCIsNotForPostgres(t *testing.T) {
	t.Parallel()
	s := mustStart(t, quick(tempDir(t)))
	group, err := syscall.Getpgid(s.current.Load().pid)
	if err != nil || group != s.current.Load().pid {
		t.Errorf("the postmaster is in process group %d: %v", group, err)
	}
}

// TestWatchdog tests the replacement for the death signal outside Linux.
func TestWatchdog(t *testing.T) {
	a, err := chooseAccount("")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("released", func(t *testing.T) {
		child := anyProcess(t, a)
		release, err := watchdog(child.pid, a, syscall.SIGKILL)
		if err != nil {
			t.Fatal(err)
		}
		release()
		if !child.running() {
			t.Error("the watchdog killed the process although it was released")
		}
	})
	t.Run("parent dies", func(t *testing.T) {
		child := anyProcess(t, account{})
		// The script as watchdog runs it. Closing the pipe has the same effect as the death of this process.
		cmd := exec.CommandContext(t.Context(), "/bin/sh", watchdogArguments(child.pid, syscall.SIGKILL)...)
		pipe, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := pipe.Close(); err != nil {
			t.Fatal(err)
		}
		<-child.done
		if err := cmd.Wait(); err != nil {
			t.Errorf("watchdog: %v", err)
		}
	})
}
