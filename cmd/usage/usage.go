// Package usage has the errors of wrong command lines.
package usage

import (
	"fmt"

	"github.com/spf13/cobra"
)

// Error says what is wrong with a command line.
type Error struct{ error }

// Errorf makes an Error that refers to the command's help.
func Errorf(c *cobra.Command, format string, args ...any) error {
	return Error{fmt.Errorf(format+"; see '"+c.CommandPath()+" --help'", args...)}
}

// NoArgs refuses arguments. An argument may also be a command that does not exist.
func NoArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if c.HasSubCommands() {
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			return Errorf(c, "there is no command %q, did you mean %q?", args[0], near[0])
		}
		return Errorf(c, "there is no command %q", args[0])
	}
	return Errorf(c, "%s takes no arguments, but got %q", c.CommandPath(), args[0])
}

// OneArg accepts exactly one argument; name says what it is.
func OneArg(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return Errorf(c, "want one argument, the %s", name)
		}
		return nil
	}
}
