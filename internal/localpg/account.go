package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user that Postgres runs as. The zero value is the user of this process.
type account struct {
	name     string
	uid, gid uint32
}

// chooseAccount finds the user for the cluster in data. Postgres refuses to run
// as root, so root chooses an unprivileged user: the owner of an existing
// cluster, else postgres, else nobody. Any other user runs it as itself.
func chooseAccount(data string) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	if owner, ok := ownerOf(filepath.Join(data, "PG_VERSION")); ok && owner.uid != 0 {
		return owner, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if a, err := accountOf(name); err == nil {
			return a, nil
		}
	}
	return account{}, errors.New("culvert runs as root, which Postgres refuses, and there is no user postgres " +
		"or nobody to run it as: make one, or run culvert as an ordinary user")
}

// accountOf looks a user up by name.
func accountOf(name string) (account, error) {
	found, err := user.Lookup(name)
	if err != nil {
		return account{}, err
	}
	uid, uidErr := strconv.ParseUint(found.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(found.Gid, 10, 32)
	return account{name: name, uid: uint32(uid), gid: uint32(gid)}, errors.Join(uidErr, gidErr)
}

// ownerOf returns the account that a file belongs to.
func ownerOf(path string) (account, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return account{}, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return account{}, false
	}
	name := "with id " + strconv.FormatUint(uint64(stat.Uid), 10)
	if found, err := user.LookupId(strconv.FormatUint(uint64(stat.Uid), 10)); err == nil {
		name = found.Username
	}
	return account{name: name, uid: stat.Uid, gid: stat.Gid}, true
}

// other reports whether the account is not the user of this process.
func (a account) other() bool { return a.name != "" }

// apply makes cmd run as the account.
func (a account) apply(attr *syscall.SysProcAttr) {
	if a.other() {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: []uint32{a.gid}}
	}
}

// mkdir makes a folder that only the account may enter.
func (a account) mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil || !a.other() {
		return err
	}
	return os.Chown(dir, int(a.uid), int(a.gid))
}

// reach checks that the account can enter dir, by trying, because permission bits
// do not decide alone. The error names the folder that it cannot enter.
func (a account) reach(ctx context.Context, dir string) error {
	if !a.other() || a.enters(ctx, dir) {
		return nil
	}
	blocked := dir
	for parent := filepath.Dir(dir); parent != "/" && !a.enters(ctx, parent); parent = filepath.Dir(parent) {
		blocked = parent
	}
	return fmt.Errorf("%w: culvert runs as root, so Postgres runs as user %s, who may not enter %s; "+
		"choose a folder outside of it with --data (such as /var/lib/culvert), or let that user in "+
		"(chmod o+x %s), or run culvert as an ordinary user", ErrUnreachable, a.name, blocked, blocked)
}

// enters reports whether a process of the account can change into dir.
func (a account) enters(ctx context.Context, dir string) bool {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `cd -- "$1"`, "sh", dir)
	cmd.Dir = "/"
	cmd.Env = environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	a.apply(cmd.SysProcAttr)
	return cmd.Run() == nil
}
