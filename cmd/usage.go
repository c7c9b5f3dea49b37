package cmd

import (
	"fmt"

	"github.com/spf13/cobra"
)

// usageError is a command line that cannot be understood.
type usageError struct{ error }

// usagef makes a usageError that points at the command's help.
func usagef(c *cobra.Command, format string, args ...any) error {
	return usageError{fmt.Errorf(format+"; see '"+c.CommandPath()+" --help'", args...)}
}

// noArgs refuses arguments, and with them commands that do not exist.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if c.HasSubCommands() {
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			return usagef(c, "there is no command %q, did you mean %q?", args[0], near[0])
		}
		return usagef(c, "there is no command %q", args[0])
	}
	return usagef(c, "%s takes no arguments, but got %q", c.CommandPath(), args[0])
}
