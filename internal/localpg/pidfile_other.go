//go:build !linux

package localpg

import (
	"os/exec"
	"strconv"
	"strings"
)

// runsOn reports whether process pid is a postmaster on the folder data, by its
// command line (see Server.command).
func runsOn(pid int, data string) answer {
	output, err := exec.Command("/bin/ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return unknown
	}
	if strings.Contains(string(output), "-D "+data+" ") {
		return yes
	}
	return no
}
