package localpg

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// ordinary are the tests whose result may depend on the user.
const ordinary = "^Test(DataSurvives|Immediate|LongPaths|PostmasterDoesNot|Psql|SecondHolder|StalePidFile|" +
	"StartRightAfter|ThrowAway)"

// TestAsAnOrdinaryUser runs tests of this package again as the user nobody.
func TestAsAnOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return // all other tests run as an ordinary user anyway
	}
	owner, err := accountOf("nobody")
	if err != nil {
		t.Fatal(err)
	}
	home := tempDir(t)
	binary := filepath.Join(home, "localpg.test")
	copyProgram(t, binary)
	mine := filepath.Join(home, "tmp")
	if err := owner.mkdir(mine); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "-test.timeout=5m", "-test.run="+ordinary)
	cmd.Env = append(environment(), "TMPDIR="+mine, "HOME="+mine)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	owner.apply(cmd.SysProcAttr)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	t.Logf("%s", output)
}

// copyProgram puts this test binary where other users may run it.
func copyProgram(t *testing.T, to string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	program, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(program, from); err != nil {
		t.Fatal(err)
	}
	if err := program.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRootRunsPostgresAsSomebodyElse(t *testing.T) {
	t.Parallel()
	s := mustStart(t, quick(tempDir(t)))
	postmaster, ok := ownerOf(filepath.Join(s.folder.data(), "postmaster.pid"))
	if !ok || postmaster.uid == 0 {
		t.Errorf("Postgres runs as %+v", postmaster)
	}
	for _, path := range []string{string(s.folder), s.folder.lock(), s.folder.log()} {
		if owner, ok := ownerOf(path); !ok || int(owner.uid) != os.Geteuid() {
			t.Errorf("%s belongs to %+v, want it to belong to the user that made it", path, owner)
		}
	}
}

func TestClusterRunsAsItsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		return // an ordinary user has no choice
	}
	data := t.TempDir()
	write(t, filepath.Join(data, "PG_VERSION"), "15\n")
	if err := os.Chown(filepath.Join(data, "PG_VERSION"), 4711, 4712); err != nil {
		t.Fatal(err)
	}
	if a, err := chooseAccount(data); err != nil || a.uid != 4711 || a.gid != 4712 {
		t.Errorf("chose %+v, %v", a, err)
	}
}

func TestFolderOutOfReachIsExplained(t *testing.T) {
	if os.Geteuid() != 0 {
		return // an ordinary user can enter its own folders
	}
	closed := filepath.Join(tempDir(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), quick(filepath.Join(closed, "a", "b")))
	wantError(t, err, ErrUnreachable, "may not enter "+closed+";", "chmod o+x "+closed, "--data")
}
