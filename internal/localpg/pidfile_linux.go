package localpg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// runsOn reports whether process pid is a postmaster on the folder data, by
// its working directory. A zombie has none.
func runsOn(pid int, data string) answer {
	cwd, err := os.Stat(fmt.Sprintf("/proc/%d/cwd", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return no
	}
	if err != nil {
		return unknown
	}
	dir, err := os.Stat(data)
	if err != nil {
		return unknown
	}
	if os.SameFile(cwd, dir) {
		return yes
	}
	return no
}
